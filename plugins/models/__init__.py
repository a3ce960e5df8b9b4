"""Registered models."""

from . import clap_roberta  # noqa: F401
