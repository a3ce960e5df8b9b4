"""Registered criterions."""

from . import causal_lm, clap_masked_lm, glue, metric_learning, preference, style_lm, summarization  # noqa: F401
