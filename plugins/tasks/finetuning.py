"""Prepare a new model for fine-tuning before the pretrained checkpoint is loaded."""

from collections.abc import Iterable
from typing import Any, cast

import torch


def start_afresh(model: torch.nn.Module, prefixes: Iterable[str]) -> None:
    """Keep the initial values of parameters when a checkpoint is loaded for the first time.

    Args:
        prefixes: prefixes of their names in the state dict.
    """

    pending = list(prefixes)

    def hook(module: torch.nn.Module, state_dict: dict[str, torch.Tensor], prefix: str, *unused: object) -> None:
        own = module.state_dict() if pending else {}
        for name in own:
            if name.startswith(tuple(pending)):
                state_dict[prefix + name] = own[name].detach().clone()
        pending.clear()

    model.register_load_state_dict_pre_hook(hook)


def scale_learning_rates(model: torch.nn.Module, decay: float) -> None:
    """Mark each parameter with its share of the learning rate: decay ** (1 + the number of layers above it).

    The embeddings count as the layer below the first; the head has the full rate (Howard and Ruder, 2018,
    arXiv 1801.06146; Clark et al., 2020, ELECTRA, arXiv 2003.10555).

    Args:
        model: an encoder with ``encoder.sentence_encoder.layers``.
        decay: above 0 and at most 1.
    """
    if decay == 1:
        return
    encoder = cast(Any, model).encoder.sentence_encoder
    depth = len(encoder.layers)
    for parameter in encoder.parameters():
        parameter.lr_scale = decay ** (depth + 1)
    for i, layer in enumerate(encoder.layers):
        for parameter in layer.parameters():
            parameter.lr_scale = decay ** (depth - i)
