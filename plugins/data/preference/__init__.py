"""Comparisons and ratings of texts."""
