"""Attention: weights of every head, patterns of heads, figures."""
