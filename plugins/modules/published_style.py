"""The Multi-Style Adapter as published (AI-Scientist, "multi_style_adapter", runs 1 to 5): for comparison only.

It is not a language model. The style is classified from the last position, which depends on the whole input, and
multiplies the hidden states of every position, so each prediction depends on its own target. Its loss is not a
likelihood. :mod:`plugins.modules.style_adapter` is the causal form.

Shapes: B sequences, T tokens, C channels, K styles.
"""

from typing import Any

import torch
from torch import Tensor, nn


class PublishedStyle(nn.Module):
    """Classifier, style embeddings and a gate for each modulated layer, with published names and initialization.

    Args:
        width: C.
        layers: indices of the modulated layers.
        gates: number of gates; with every other layer modulated, the published model has an unused one.
        styles: K.
        style_dim: width of a style embedding.
    """

    def __init__(self, width: int, layers: list[int], gates: int, styles: int = 4, style_dim: int = 64):
        super().__init__()
        self.layers, self.styles = list(layers), styles
        self.style_embeddings = nn.Parameter(torch.randn(styles, style_dim))
        self.style_proj = nn.Linear(style_dim, width)
        self.style_classifier = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, styles))
        self.style_adapters = nn.ModuleList(nn.ModuleDict({"linear": nn.Linear(width, width)}) for _ in range(gates))
        self.style_adapters[len(layers) :].requires_grad_(False)  # distributed workers would wait for their gradient

    def begin(self, styles: Tensor | None = None, lengths: Tensor | None = None) -> "PublishedPass":
        """Start a pass over a batch; call the result after each layer.

        Args:
            styles: (B, K) style weights that replace the classifier's, or None.
            lengths: (B,) tokens in each sequence; None without padding.
        """
        return PublishedPass(self, styles, lengths)


class PublishedPass:
    """One pass of a decoder.

    Attributes:
        logits: (B, 1, K) style logits after the last modulated layer.
    """

    def __init__(self, adapter: PublishedStyle, styles: Tensor | None, lengths: Tensor | None):
        self.adapter, self.styles, self.lengths = adapter, styles, lengths
        self.logits: Tensor | None = None

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        """Map the output (B, T, C) of a layer to the input of the next."""
        adapter = self.adapter
        if layer not in adapter.layers:
            return x
        ends = -1 if self.lengths is None else self.lengths - 1
        last = x[torch.arange(len(x), device=x.device), ends]  # (B, C)
        self.logits = logits = adapter.style_classifier(last)[:, None]  # (B, 1, K)
        weights = logits.softmax(-1) if self.styles is None else self.styles[:, None].to(x)
        style = adapter.style_proj(weights @ adapter.style_embeddings)  # (B, 1, C)
        gate: Any = adapter.style_adapters[adapter.layers.index(layer)]
        return x * gate["linear"](style)
