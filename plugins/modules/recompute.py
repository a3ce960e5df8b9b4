"""Activation checkpointing: keep the input of a layer, compute the rest again in the backward pass."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def call(layer: nn.Module, *inputs: Any, recompute: bool) -> Any:
    """Return ``layer(*inputs)``.

    Args:
        recompute: store only the inputs for the backward pass, which computes the layer again with the same random
            numbers (Chen et al., 2016, arXiv 1604.06174). Ignored without gradients.
    """
    if recompute and torch.is_grad_enabled():
        # The reentrant form gives no gradients if the input needs none, as with frozen embeddings.
        return checkpoint(layer, *inputs, use_reentrant=False)
    return layer(*inputs)
