"""Registered criterions."""

from . import clap_masked_lm, glue  # noqa: F401
