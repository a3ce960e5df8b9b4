"""Registered tasks."""

from . import clap_masked_lm  # noqa: F401
