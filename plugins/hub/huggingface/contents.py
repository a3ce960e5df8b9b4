"""Files that exported folders of all models contain."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Contents:
    """A model for transformers.

    Attributes:
        config: content of ``config.json``.
        tensors: {transformers' name: tensor}.
        files: {name: bytes, text or JSON data} of the tokenizer and of other configs.
        code: {name: source}; empty for a model that transformers has itself.
        pipeline: the Hub's name of the task.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    files: dict[str, Any]
    code: dict[str, str] = field(default_factory=dict)
    pipeline: str = "text-generation"
