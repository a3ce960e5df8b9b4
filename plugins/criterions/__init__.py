"""Registered criterions."""

from . import clap_masked_lm  # noqa: F401
