"""Registered tasks."""

from . import causal_lm, char_lm, clap_masked_lm, embedding, glue, recipes, summarization  # noqa: F401
