"""Language-model heads: CLAP's and RoBERTa's.

CLAP's logits are scaled inner products with L2-normalized word embeddings (EIFY/fairseq, README).

Shapes: N predictions, C channels, V words.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear
from .linear_cross_entropy import linear_cross_entropy
from .norm import LayerNorm, at_least_float32, inverse_norm


class Head(nn.Module):
    """Base class: a function of the features, then their product with a table (V, C), ``self.weight``.

    Attributes:
        normalize: divide the rows of the table by their norm.
    """

    normalize = False
    weight: Tensor  # a parameter

    def prepare(self, x: Tensor) -> Tensor:
        """Map features (..., C) to the factor of the table, (..., C)."""
        return x

    def scale(self) -> Tensor | None:
        """Return the factor of the products with the table, (1,) in float32 at least, or None for 1."""
        return None

    def offset(self) -> Tensor | None:
        """Return the bias of the logits, (V,), or None."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Map features (..., C) to logits (..., V)."""
        x, scale, offset = self.prepare(x), self.scale(), self.offset()
        if not self.normalize and scale is None:
            return F.linear(x, self.weight, offset)
        logits = F.linear(x, self.weight)
        factor = torch.ones(1, device=logits.device) if scale is None else scale
        if self.normalize:  # no normalized copy of the table is made
            factor = factor * inverse_norm(self.weight)
        logits = (logits * factor).to(logits.dtype)  # rounded once
        return logits if offset is None else logits + offset.to(logits.dtype)

    def cross_entropy(self, x: Tensor, target: Tensor) -> Tensor:
        """Return the sum over N of -log softmax(logits)[target], in nats, from features (N, C) and target (N,).

        In half precision it is more precise than the cross-entropy of the logits, which are rounded: see
        :mod:`.linear_cross_entropy`.
        """
        x = self.prepare(x)
        return linear_cross_entropy(x, self.weight, target, self.offset(), self.normalize, self.scale())


class ClapHead(Head):
    """The CLAP head: beta * x ŵ^T, without dense layer, activation, layer norm or bias.

    Args:
        weight: (V, C) embedding table, shared with the input.
        initial_beta: initial value of the learned inverse temperature. x is the output of a layer norm, so its norm is
            about sqrt(C) and the scale of a cosine is beta * sqrt(C): 27.7 at C = 768 and beta = 1.
        normalize: divide the rows of the table by their norm.
        reference_dim: 0, as published, or the width for which ``initial_beta`` was chosen. Logits are then multiplied
            by sqrt(reference_dim / C), so that a beta means the same scale at every width.
        max_scale: 0, as published, or the largest scale of a cosine (CLIP's is 100). The scale is then not negative
            either.
        excluded: (K,) indices of words that are never a target (``<pad>``, fillers); their logits are -inf.
    """

    excluded: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        initial_beta: float = 1.0,
        *,
        normalize: bool = True,
        reference_dim: int = 0,
        max_scale: float = 0.0,
        excluded: Tensor | None = None,
    ):
        super().__init__()
        width = weight.size(-1)
        self.weight = weight
        self.beta = nn.Parameter(torch.full((1,), float(initial_beta)))
        setattr(self.beta, "no_weight_decay", True)  # noqa: B010 (parameters have no declared attributes)
        self.normalize = normalize
        self.width_factor = math.sqrt(reference_dim / width) if reference_dim else 1.0
        self.max_beta = max_scale / math.sqrt(width) if max_scale else None
        self.register_buffer("excluded", excluded, persistent=False)
        self.register_state_dict_post_hook(_save_beta_as_scalar)
        self.register_load_state_dict_pre_hook(_load_beta_of_any_shape)

    def scale(self) -> Tensor:
        """Return the factor on the inner products, in at least float32: (1,)."""
        scale = self.beta.to(at_least_float32(self.beta.dtype)) * self.width_factor
        return scale if self.max_beta is None else scale.clamp(0, self.max_beta)

    def offset(self) -> Tensor | None:
        """Return -inf at excluded words, (V,), or None."""
        if self.excluded is None:
            return None
        zeros = torch.zeros(len(self.weight), device=self.weight.device)
        return zeros.index_fill_(0, self.excluded.to(zeros.device), -math.inf)


def _save_beta_as_scalar(head, state_dict, prefix, local_metadata):
    # In checkpoints beta has 0 dimensions, as published; in memory it has one, which sharded training needs.
    state_dict[prefix + "beta"] = state_dict[prefix + "beta"].reshape(())


def _load_beta_of_any_shape(head, state_dict, prefix, *unused):
    if prefix + "beta" in state_dict:
        state_dict[prefix + "beta"] = state_dict[prefix + "beta"].reshape(1)


class RobertaHead(Head):
    """RoBERTa's head: dense, activation, layer norm, then the embedding table and a bias for each word.

    Args:
        weight: (V, C) table, which may be the input's.
        activation: from (..., C) to (..., C).
        norm_eps: added to the variance in the layer norm.
    """

    def __init__(self, weight: Tensor, activation: Callable[[Tensor], Tensor], norm_eps: float = 1e-5):
        super().__init__()
        words, width = weight.shape
        self.dense = Linear(width, width)
        self.activation = activation
        self.layer_norm = LayerNorm(width, norm_eps)
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(words))

    def prepare(self, x: Tensor) -> Tensor:
        """Return the output of the dense layer, activation and layer norm, (..., C)."""
        return self.layer_norm(self.activation(self.dense(x)))

    def offset(self) -> Tensor:
        """Return the bias (V,)."""
        return self.bias
