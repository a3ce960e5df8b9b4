"""Copies of a model whose weights are stacked, so that one batched product computes a layer of all copies.

Many small models that are trained on different rows, as in cross-validation, leave a GPU idle if each has a process of
its own. Stacked they are one model with larger products.

Shapes: M copies, B sequences for each, T tokens, C channels, V words. Sequences of a batch are sorted by copy, M * B.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .absolute_positions import Learned
from .norm import to_autocast
from .position_scheme import Where, shifted


def copies_of(tensor: Tensor, copies: int) -> nn.Parameter:
    """Return a parameter (M, ...) of M copies of a tensor."""
    return nn.Parameter(tensor.detach().expand(copies, *tensor.shape).clone())


class StackedLinear(nn.Module):
    """M linear layers, which start from one."""

    def __init__(self, layer: nn.Linear, copies: int):
        super().__init__()
        self.weight = copies_of(layer.weight, copies)
        self.bias = None if layer.bias is None else copies_of(layer.bias, copies)

    def forward(self, x: Tensor) -> Tensor:
        """Map (M * B, ..., C) to (M * B, ..., C')."""
        rows = x.reshape(len(self.weight), -1, x.size(-1))  # (M, B * T, C)
        if self.bias is None:
            y = torch.bmm(rows, self.weight.mT)
        else:
            y = torch.baddbmm(self.bias[:, None], rows, self.weight.mT)
        return y.view(*x.shape[:-1], -1)


class StackedNorm(nn.Module):
    """M layer norms, which start from one."""

    def __init__(self, layer: nn.LayerNorm, copies: int):
        super().__init__()
        self.weight, self.bias = copies_of(layer.weight, copies), copies_of(layer.bias, copies)
        self.eps = layer.eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (M * B, ..., C) to the same shape."""
        rows = F.layer_norm(x, x.shape[-1:], eps=self.eps).view(len(self.weight), -1, x.size(-1))
        return to_autocast(torch.addcmul(self.bias[:, None], rows, self.weight[:, None]).view(x.shape))


class StackedTable(nn.Module):
    """M embedding tables, which start from one. Rows of a batch name their copy by their place."""

    def __init__(self, weight: Tensor, copies: int):
        super().__init__()
        self.weight, self.num_embeddings = copies_of(weight, copies), len(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (M * B, T) to (M * B, T, C)."""
        first = torch.arange(len(self.weight), device=tokens.device) * self.num_embeddings
        places = tokens + first.repeat_interleave(len(tokens) // len(first))[:, None]
        return F.embedding(places, self.weight.flatten(0, 1))


class StackedPositions(Learned):
    """M tables of learned positions, which start from one."""

    def __init__(self, scheme: Learned, copies: int):
        nn.Module.__init__(self)
        self.causal, self.heads, self.first_row, self.limit = (
            scheme.causal,
            scheme.heads,
            scheme.first_row,
            scheme.limit,
        )
        self.tables = StackedTable(scheme.weight, copies)
        self.scaling = scheme.scaling

    def embed(self, x: Tensor, where: Where, end: int) -> Tensor:
        """Add the positions of (M * B, T) to (M * B, T, C)."""
        rows = shifted(where, self.first_row)
        assert isinstance(rows, Tensor), "an encoder does not count padding"
        return x + self.tables(rows)


def stack(model: nn.Module, copies: int) -> nn.Module:
    """Replace the parts of a model that have parameters by stacked ones, in place, and return it.

    The model then maps M * B sequences, sorted by copy, and the features of each copy are those of its own weights.

    Raises:
        ValueError: a part with parameters that cannot be stacked.
    """
    for name, part in list(model.named_children()):
        if isinstance(part, Learned):
            model.add_module(name, StackedPositions(part, copies))
        elif isinstance(part, nn.Linear):
            model.add_module(name, StackedLinear(part, copies))
        elif isinstance(part, nn.LayerNorm):
            model.add_module(name, StackedNorm(part, copies))
        elif isinstance(part, nn.Embedding):
            model.add_module(name, StackedTable(part.weight, copies))
        elif list(part.parameters(recurse=False)):
            raise ValueError(f"{type(part).__name__} ({name}) cannot be stacked")
        else:
            stack(part, copies)
    return model
