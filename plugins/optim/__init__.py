"""Registered optimizers."""

from . import adafactor, adamw_8bit, fused_adamw  # noqa: F401
