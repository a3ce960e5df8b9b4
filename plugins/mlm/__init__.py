"""The demo of masked language models."""
