"""Registered models."""

from . import causal_lm, char_lm, clap_roberta  # noqa: F401
