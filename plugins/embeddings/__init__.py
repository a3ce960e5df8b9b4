"""Embeddings from end to end: evaluation beside baselines, and the comparison of losses."""
