"""Registered tasks."""

from . import causal_lm, char_lm, clap_masked_lm, defaults, embedding, glue, preference, summarization  # noqa: F401
