"""Rotary position embedding (RoFormer, Su et al., 2021, arXiv 2104.09864).

Shapes: B sequences, T tokens, H heads of D channels.
"""

import torch
from torch import Tensor

from .norm import at_least_float32
from .offset_bias import Grown
from .position_scheme import Positions, Spec, Where
from .scaling import SCALINGS, Scaling, attention_factor, rotary_frequencies


class Rotary(Positions):
    """Rotary position embedding (RoFormer, Su et al., 2021, arXiv 2104.09864, section 3.2).

    Channels i and i + D/2 of a query or key at position t are rotated by the angle t * 10000^(-2i/D), so that scores
    depend only on the difference of the positions. The paper pairs neighboring channels; halves are paired here, as in
    GPT-NeoX and Llama: the same function after a permutation of the channels.

    Angles are computed in float64 and rotations done in float32 at least: positions of many thousands stay exact.

    Raises:
        ValueError: D is odd.
    """

    key = "rotary"
    scalings = SCALINGS

    def __init__(self, spec: Spec):
        self.head_width, rest = divmod(spec.width, spec.heads)
        if rest or self.head_width % 2:
            raise ValueError(f"rotary positions need heads of an even width, not {spec.width} / {spec.heads}")
        super().__init__(spec)

    def rescale(self, scaling: Scaling) -> None:
        """See :meth:`Positions.rescale`."""
        super().rescale(scaling)
        self._table = Grown(self._build)

    def angles(self, where: Where, end: int, device: torch.device) -> Tensor:
        """Return the cosines and sines of T positions, (2, T, D/2) or (2, B, 1, T, D/2), float32."""
        if self.scaling.dynamic(end):
            angles = self._build(end, end).to(device)[:, where]
        else:
            angles = self._table(end, device)[:, where]
        return angles if angles.ndim == 3 else angles.unsqueeze(2)

    def rotate(self, x: Tensor, angles: Tensor | None) -> Tensor:
        assert angles is not None, "see angles"
        cos, sin = angles.to(at_least_float32(x.dtype)).unbind()  # products with half precision are float32 then
        first, second = x.chunk(2, dim=-1)  # 2 x (B, H, T, D/2)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)

    def _build(self, rows: int, length: int = 1) -> Tensor:
        frequencies = rotary_frequencies(self.head_width, scaling=self.scaling, length=length)  # (D/2,)
        angles = torch.arange(rows, dtype=torch.float64)[:, None] * frequencies  # (L, D/2)
        return (torch.stack([angles.cos(), angles.sin()]) * attention_factor(self.scaling)).float()
