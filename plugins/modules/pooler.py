"""Sentence classification heads: a pooler, then RoBERTa's dense layer, activation and projection.

With the pooler ``bos`` the head equals fairseq's ``RobertaClassificationHead``, with the same parameter names.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

POOLERS = ("bos", "mean", "max", "attention")


class ClassificationHead(nn.Module):
    """Map the features of a sequence to K logits.

    Args:
        input_dim: C.
        inner_dim: width of the dense layer.
        num_classes: K.
        activation: from (..., C) to (..., C).
        dropout: before the dense layer and before the projection.
        pooler: ``bos``: the features of ``<s>``; ``mean``, ``max``: over all tokens; ``attention``: a mean weighted
            by the softmax of a learned projection of each token.

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
        if pooler not in POOLERS:
            raise ValueError(f"pooler is one of {', '.join(POOLERS)}, not {pooler!r}")
        self.pooler_type = pooler
        self.dense = nn.Linear(input_dim, inner_dim)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(inner_dim, num_classes)
        self.attention = None
        if pooler == "attention":
            self.attention = nn.Linear(input_dim, 1, bias=False)
            nn.init.zeros_(self.attention.weight)  # training starts from the mean

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
        """Map features (B, T, C) to (B, C); features at padding are ignored."""
        if self.pooler_type == "bos":
            return features[:, 0]
        if padding is None:
            padding = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        if self.pooler_type == "max":
            return features.masked_fill(padding[..., None], -math.inf).amax(1)
        if self.pooler_type == "mean":
            weights = (~padding).float()
        else:
            weights = self.attention(features).squeeze(-1).float().masked_fill(padding, -math.inf).softmax(-1)  # (B, T)
        weights = (weights / weights.sum(1, keepdim=True)).to(features.dtype)
        return torch.einsum("bt,btc->bc", weights, features)
