"""Registered optimisers."""

from . import fused_adamw  # noqa: F401
