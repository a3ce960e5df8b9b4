"""Sentence classification heads: a pooler, then RoBERTa's dense layer, activation and projection.

With the pooler ``bos`` the head equals fairseq's ``RobertaClassificationHead``, with the same parameter names.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

POOLERS = ("bos", "mean", "max", "attention")
EMBEDDING_POOLERS = (*POOLERS, "last")


def pool(features: Tensor, padding: Tensor | None, kind: str, attention: nn.Module | None = None) -> Tensor:
    """Map features (B, T, C) to (B, C); padding does not affect the result.

    Args:
        padding: (B, T), True at padding, which is on the right; None if there is none.
        kind: one of :data:`EMBEDDING_POOLERS`; ``last`` takes the last token of each row.
        attention: from (B, T, C) to (B, T, 1), the weights of ``attention`` before their softmax.
    """
    if kind == "bos":
        return features[:, 0]
    if padding is None:
        padding = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
    if kind == "last":
        return features[torch.arange(len(features), device=features.device), (~padding).sum(1) - 1]
    if kind == "max":
        return features.masked_fill(padding[..., None], -math.inf).amax(1)
    if kind == "mean":
        weights = (~padding).float()
    else:
        assert attention is not None, "the pooler attention has weights"
        weights = attention(features).squeeze(-1).float().masked_fill(padding, -math.inf).softmax(-1)  # (B, T)
    weights = (weights / weights.sum(1, keepdim=True)).to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):  # it would round the mean to half precision
        return torch.einsum("bt,btc->bc", weights, features)


def attention_weights(width: int) -> nn.Linear:
    """Return the projection (..., C) to (..., 1) of the pooler ``attention``, which starts as the mean."""
    projection = nn.Linear(width, 1, bias=False)
    nn.init.zeros_(projection.weight)
    return projection


class ClassificationHead(nn.Module):
    """Map the features of a sequence to K logits.

    Args:
        input_dim: C.
        inner_dim: width of the dense layer.
        num_classes: K.
        activation: from (..., C) to (..., C).
        dropout: before the dense layer and before the projection.
        pooler: ``bos``: the features of ``<s>``; ``last``: of the last token; ``mean``, ``max``: over all tokens;
            ``attention``: a mean weighted by the softmax of a learned projection of each token.

    Raises:
        ValueError: an unknown pooler.
    """

    def __init__(
        self,
        input_dim: int,
        inner_dim: int,
        num_classes: int,
        activation: Callable[[Tensor], Tensor],
        dropout: float = 0.0,
        pooler: str = "bos",
    ):
        super().__init__()
        if pooler not in EMBEDDING_POOLERS:
            raise ValueError(f"pooler is one of {', '.join(EMBEDDING_POOLERS)}, not {pooler!r}")
        self.pooler_type = pooler
        self.dense = nn.Linear(input_dim, inner_dim)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(inner_dim, num_classes)
        self.attention = attention_weights(input_dim) if pooler == "attention" else None

    def forward(self, features: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map features (B, T, C) to (B, K).

        Args:
            features: (B, T, C).
            padding: (B, T), True at padding; None if there is none.
        """
        return self.classify(self.pool(features, padding))

    def classify(self, pooled: Tensor) -> Tensor:
        """Map pooled features (B, C) to (B, K)."""
        x = self.activation(self.dense(self.dropout(pooled)))
        return self.out_proj(self.dropout(x))

    def pool(self, features: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map features (B, T, C) to (B, C), see :func:`pool`."""
        return pool(features, padding, self.pooler_type, self.attention)
