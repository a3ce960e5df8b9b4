"""Parameter-efficient fine-tuning: LoRA, prompt tuning, last layer. One interface for all methods and models.

A model is tuned in place. Parameters that require a gradient afterwards are trained; the others, the base, are frozen.
``state_dict()`` of a tuned model contains only the trained parameters and the SHA-256 of the base.
"""

from .config import METHODS, OPTIONS, PeftConfig, complete
from .lora import library_config
from .methods import tune
from .prompt import NO_MERGE
from .tuning import (
    IDENTITY,
    Count,
    Parts,
    WrongBase,
    count,
    disabled,
    fingerprint,
    merge,
    merged_state,
    tuned_names,
    unmerge,
    whole_state,
)

__all__ = [
    "IDENTITY",
    "METHODS",
    "NO_MERGE",
    "OPTIONS",
    "Count",
    "Parts",
    "PeftConfig",
    "WrongBase",
    "complete",
    "count",
    "disabled",
    "fingerprint",
    "library_config",
    "merge",
    "merged_state",
    "tune",
    "tuned_names",
    "unmerge",
    "whole_state",
]
