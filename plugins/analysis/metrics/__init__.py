"""Metrics: GLUE, ROUGE, bootstrap intervals."""
