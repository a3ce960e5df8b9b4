"""Registered criterions."""

from . import clap_masked_lm, glue, style_lm  # noqa: F401
