"""Registered models."""

from . import char_lm, clap_roberta  # noqa: F401
