"""Files that exported folders of all models contain, and what cannot be exported."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from plugins.errors import UserError

from .files import check_untuned


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


def check_ours(model: nn.Module) -> None:
    """Check that every part of a model is a class of this package, fairseq or torch, whose code can be exported.

    A subclass in a user's plugin has the tensors of its parent, and would be exported as its parent.

    Raises:
        UserError: a part is a class of a plugin, or the model is tuned by ``--peft``.
    """
    # before the parts: those of LoRA are classes of the peft library, which is not a plugin of the user's
    check_untuned(getattr(model, "cfg", None) or getattr(model, "args", None))
    for part in model.modules():
        package = type(part).__module__.partition(".")[0]
        if package not in ("plugins", "fairseq", "torch"):
            raise UserError(
                f"a model with {type(part).__name__} of the plugin {package} cannot be exported: its code is not part "
                "of the exported folder"
            )
