"""Registered tasks."""

from . import char_lm, clap_masked_lm, recipes  # noqa: F401
