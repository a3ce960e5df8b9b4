"""Attention weights: capture, head patterns, drawings."""
