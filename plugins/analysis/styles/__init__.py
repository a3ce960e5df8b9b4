"""Styles of character LMs: their effects, judges of generated text, evaluations, figures."""
