"""A head that gives each text one score, as reward models have."""

import torch
from torch import Tensor, nn

from .pooler import attention_weights, pool


class ScoreHead(nn.Module):
    """Pool features, then a dense layer, tanh and a projection to one number.

    Args:
        width: C.
        pooling: one of :data:`plugins.modules.pooler.EMBEDDING_POOLERS`.
        dropout: before the dense layer and before the projection.
        flip_rate: where the learned share of reversed comparisons starts, below 0.5; 0 for none.
    """

    def __init__(self, width: int, pooling: str = "mean", dropout: float = 0.0, flip_rate: float = 0.0):
        super().__init__()
        self.pooling = pooling
        self.attention = attention_weights(width) if pooling == "attention" else None
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(width, 1)
        self.flip = nn.Parameter(torch.logit(torch.tensor(2.0 * flip_rate))) if flip_rate else None

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Map features (B, T, C) of texts of (B,) tokens to scores (B,)."""
        padding = torch.arange(features.size(1), device=features.device) >= lengths[:, None]  # (B, T)
        x = self.dropout(pool(features, padding, self.pooling, self.attention))
        return self.out_proj(self.dropout(torch.tanh(self.dense(x)))).squeeze(-1)

    def flip_rate(self) -> Tensor:
        """Return the learned share of reversed comparisons, between 0 and 0.5."""
        assert self.flip is not None, "it is not learned"
        return torch.sigmoid(self.flip) / 2
