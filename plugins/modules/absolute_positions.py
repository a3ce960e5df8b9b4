"""Positions added to the token embeddings: learned and sinusoidal.

Shapes: B sequences, T tokens, C channels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .offset_bias import Grown
from .position_scheme import Positions, Spec, Where, shifted


class Learned(Positions, nn.Embedding):
    """A trained vector for each position, added to the token embeddings (Devlin et al., 2019; GPT-2)."""

    key = None
    embeds = True

    def __init__(self, spec: Spec):
        first = 0 if spec.padding_row is None else spec.padding_row + 1
        super().__init__(
            spec, num_embeddings=spec.length + first, embedding_dim=spec.width, padding_idx=spec.padding_row
        )
        self.limit = spec.length
        if first:  # fairseq's initialization
            nn.init.normal_(self.weight, std=spec.width**-0.5)
            nn.init.zeros_(self.weight[spec.padding_row])

    def embed(self, x: Tensor, where: Where, end: int) -> Tensor:
        rows = shifted(where, self.first_row)
        return x + (self.weight[rows] if isinstance(rows, slice) else F.embedding(rows, self.weight, self.padding_idx))


class Sinusoidal(Positions):
    """Sines and cosines of the position, added to the token embeddings (Vaswani et al., 2017, section 3.5).

    The decoder follows the paper: rates 10000^(-2i/C), embeddings multiplied by sqrt(C). The encoder follows fairseq
    and tensor2tensor: rates 10000^(-i/(C/2-1)), and the position counts from the row after padding's.
    """

    key = None
    embeds = True

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.width, self.padding_row = spec.width, spec.padding_row
        self._table = Grown(self._build)

    def embed(self, x: Tensor, where: Where, end: int) -> Tensor:
        table = self._table(end + self.first_row, x.device).to(x.dtype)  # (rows, C)
        if self.padding_row is None:
            return x * math.sqrt(self.width) + table[where]
        return x + table[shifted(where, self.first_row)]

    def _build(self, rows: int) -> Tensor:
        if self.padding_row is None:
            return sinusoids(rows, self.width)
        half = self.width // 2
        rates = torch.exp(torch.arange(half, dtype=torch.float) * -(math.log(1e4) / (half - 1)))  # (C/2,)
        angles = torch.arange(rows, dtype=torch.float)[:, None] * rates  # (rows, C/2)
        table = F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, self.width % 2))
        table[self.padding_row] = 0
        return table

    def _load_from_state_dict(self, state_dict, prefix, *unused):
        for name in ("weights", "_float_tensor"):  # earlier versions of fairseq store the table
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *unused)


def sinusoids(length: int, width: int) -> Tensor:
    """Return the (T, C) position vectors of Vaswani et al., 2017, section 3.5: sines, then cosines."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))  # (C/2,)
    angles = torch.arange(length)[:, None] * rates  # (T, C/2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]
