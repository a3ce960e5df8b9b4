"""Evaluation on inputs longer than those in training."""
