"""Weights of linear layers in eight bits, for generation: each step reads all weights once, a quarter of the bytes.

Each row of a weight has its own scale, as in LLM.int8() (Dettmers et al., 2022, arXiv 2208.07339, section 2.1) without
outliers, and the input keeps its type.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import MOST_ROWS, DecodingLinear, sums_of_products


class Int8Linear(nn.Module):
    """A linear layer whose weight has eight bits; it cannot be trained.

    Args:
        layer: the layer to convert: weight (V, C), and bias (V,) or None.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127  # (V,)
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., V)."""
        if torch.compiler.is_compiling() and x.numel() <= MOST_ROWS * self.in_features:
            return sums_of_products(x, self.weight, self.bias, self.scale)
        y = F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def quantize(module: nn.Module) -> None:
    """Replace the :class:`.DecodingLinear` layers in a module, in place. A table shared with an embedding is copied."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is DecodingLinear:
                setattr(parent, name, Int8Linear(layer))
