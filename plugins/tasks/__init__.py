"""Registered tasks."""

from . import char_lm, clap_masked_lm, glue, recipes  # noqa: F401
