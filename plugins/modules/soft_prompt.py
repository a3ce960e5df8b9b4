"""Trained vectors in the input of a model (prompt tuning, Lester et al., 2021, arXiv 2104.08691, section 2).

Shapes: B sequences, T tokens, C channels, P vectors of the prompt.
"""

from typing import Protocol

import torch
from torch import Tensor, nn


class Prompt(Protocol):
    """Vectors in the input of a decoder: a :class:`SoftPrompt`, or one vector for each text."""

    def __len__(self) -> int: ...

    def insert(self, x: Tensor) -> Tensor:
        """Put the prompt before embedded tokens: (B, T, C) to (B, P + T, C)."""

    def remove(self, x: Tensor) -> Tensor:
        """Remove the positions of the prompt: (B, P + T, C) to (B, T, C)."""


class SoftPrompt(nn.Module):
    """Vectors inserted after the first ``at`` tokens of every sequence, in the place of token embeddings.

    Args:
        vectors: (P, C), the initial values.
        at: 0: at the start; 1: after ``<s>``.
    """

    def __init__(self, vectors: Tensor, at: int = 0):
        super().__init__()
        self.at = at
        self.weight = nn.Parameter(vectors.detach().clone())

    def __len__(self) -> int:
        """Return P."""
        return len(self.weight)

    def insert(self, x: Tensor) -> Tensor:
        """Map embedded tokens (B, T, C) to (B, T + P, C)."""
        prompt = self.weight.to(x.dtype).expand(len(x), -1, -1)
        return torch.cat([x[:, : self.at], prompt, x[:, self.at :]], dim=1)

    def remove(self, x: Tensor) -> Tensor:
        """Map features (B, T + P, C) to those of the tokens, (B, T, C)."""
        behind = x[:, self.at + len(self) :]
        return behind if self.at == 0 else torch.cat([x[:, : self.at], behind], dim=1)

    def make_room(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) to (B, T + P), with copies of the first token, which is not padding, for the prompt."""
        places = tokens[:, :1].expand(-1, len(self))
        return torch.cat([tokens[:, : self.at], places, tokens[:, self.at :]], dim=1)

    def move_rows(self, rows: Tensor, length: int) -> Tensor:
        """Map indices (N,) into B * T tokens, T being ``length``, to indices of the same tokens in B * (T + P)."""
        sequence, place = rows // length, rows % length
        return sequence * (length + len(self)) + place + len(self) * (place >= self.at)

    def extra_repr(self) -> str:
        return f"{len(self)} vectors, at={self.at}"
