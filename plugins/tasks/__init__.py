"""Registered tasks."""

from . import clap_masked_lm, glue  # noqa: F401
