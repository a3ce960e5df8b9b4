"""Apply a method of parameter-efficient fine-tuning to a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .last_layer import LastLayer
from .lora import LoRA
from .prompt import PromptTuning
from .tuning import Count, attach, count, fingerprint


def tune(
    model: nn.Module,
    cfg: Any,
    words: Sequence[int] | None = None,
    base: Mapping[str, Tensor] | None = None,
) -> Count:
    """Freeze a model with the weights of its base, and install the method of ``--peft``.

    Args:
        model: has a method ``peft_parts`` that returns :class:`plugins.peft.Parts`.
        cfg: the options of :class:`plugins.peft.PeftConfig`, completed; ``peft`` is not "none".
        words: tokens that initialize a prompt, cut or repeated to fit; None to sample them.
        base: the tensors of the base's checkpoint; None if the base is the model as it is.

    Returns:
        The number of trainable parameters, and of all.

    Raises:
        UserError: an option does not fit the model, or the peft library is needed and missing.
    """
    identity = fingerprint(model.state_dict() if base is None else base)
    if cfg.peft == "lora":
        method = LoRA(cfg, identity)
    elif cfg.peft == "prompt":
        method = PromptTuning(cfg, identity, words)
    else:
        method = LastLayer(cfg, identity, base)
    attach(model, method)
    return count(model)
