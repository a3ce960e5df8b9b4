"""Embeddings end to end: evaluation against baselines, and comparison of losses."""
