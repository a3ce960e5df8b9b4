"""From options to a tuned model."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from .last_layer import LastLayer
from .lora import LoRA
from .prompt import Prompt
from .tuning import Count, attach, count, fingerprint


def tune(
    model: nn.Module,
    cfg,
    words: Sequence[int] | None = None,
    base: Mapping[str, Tensor] | None = None,
) -> Count:
    """Freeze a model that holds the weights of its base, and give it what ``--peft`` asks for.

    Args:
        model: has a method ``peft_parts`` that returns :class:`plugins.peft.Parts`.
        cfg: the options of :class:`plugins.peft.PeftConfig`, completed; ``peft`` is not "none".
        words: tokens that a prompt begins as, cut or repeated to fit; None to draw them.
        base: the tensors of the base's checkpoint; None where the base is the model as it is.

    Returns:
        How many parameters now move, and how many there are.

    Raises:
        UserError: an option does not fit the model, or the peft library is needed and missing.
    """
    identity = fingerprint(model.state_dict() if base is None else base)
    if cfg.peft == "lora":
        method = LoRA(cfg, identity)
    elif cfg.peft == "prompt":
        method = Prompt(cfg, identity, words)
    else:
        method = LastLayer(cfg, identity, base)
    attach(model, method)
    return count(model)
