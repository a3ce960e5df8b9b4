"""Registered tasks."""

from . import causal_lm, char_lm, clap_masked_lm, defaults, embedding, glue, summarization  # noqa: F401
