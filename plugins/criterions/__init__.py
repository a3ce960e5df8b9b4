"""Registered criterions."""

from . import clap_masked_lm, style_lm  # noqa: F401
