"""Biases of attention scores that depend only on the offset, the key position minus the query position.

They cover causal masks, ALiBi, and their sum. Shapes: H heads, Q queries, S keys.
"""

from collections.abc import Callable

import torch
from torch import Tensor

SHORT = 1024  # positions; up to here the (H, T, T) bias is kept between passes
ALIGNED = 8  # numbers; GPU kernels copy a bias whose rows do not start at multiples of 16 bytes


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


class Grown:
    """A tensor that is a function of a length, kept between calls and built for the next power of two.

    It is not a buffer: ``.half()`` and ``.bfloat16()`` must not reach it, because it is computed in float32 and rounded
    once. A sum of numbers that are rounded already would lose half a position even at short distances.

    Args:
        build: from a length to the tensor, float32, on the CPU.
        dtype: data type of the tensor that is kept.
        keep: False for a function that also depends on parameters: it is computed in each call.
    """

    def __init__(self, build: Callable[[int], Tensor], dtype: torch.dtype = torch.float32, keep: bool = True):
        self.build, self.dtype, self.keep, self.length = build, dtype, keep, 0
        self.value: Tensor | None = None

    def __call__(self, length: int, device: torch.device) -> Tensor:
        """Return the tensor of a length of at least ``length``, on ``device``.

        Raises:
            ValueError: it depends on parameters, and would stay as it is when they change.
        """
        if not self.keep:
            self.length = power_of_two(max(length, 1))
            return self.build(self.length).to(device, self.dtype)
        if self.value is None or self.length < length or self.value.device != device:
            self.length = power_of_two(max(length, self.length, 1))
            with torch.inference_mode(False), torch.enable_grad():  # else it could not be used in training later
                value = self.build(self.length)
            if value.requires_grad:
                raise ValueError("the score depends on parameters: set learned_score = True in the class")
            self.value = value.to(device, self.dtype)
        return self.value


class OffsetBias:
    """The bias of each head as a function of the offset.

    Args:
        function: from offsets (N,), float32 whole numbers, to biases (H, N).
        dtype: data type of the bias.
        keep: as for :class:`Grown`.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32, keep: bool = True):
        self.function = function
        self._vector, self._matrix = (Grown(build, dtype, keep) for build in (self._build_vector, self._build_matrix))

    def rows(self, queries: slice | Tensor, keys: int, device: torch.device) -> Tensor:
        """Return the bias of some queries for the keys at 0 to ``keys`` - 1.

        Args:
            queries: Q positions that all sequences share, or (B, Q).
            keys: S.
            device: device of the result.

        Returns:
            (1, H, Q, S), which may share memory with other calls' results, or (B, H, Q, S).
        """
        if isinstance(queries, slice) and max(keys, queries.stop) <= SHORT:
            return self._matrix(max(keys, queries.stop), device)[None, :, queries, :keys]
        vector = self._vector(keys if isinstance(queries, Tensor) else max(keys, queries.stop), device)
        length = self._vector.length
        wide = min(-(-keys // ALIGNED) * ALIGNED, length)
        windows = vector.unfold(1, wide, 1)  # window w has the offsets of the query at L-1-w: (H, 2L-S, S or more)
        if isinstance(queries, slice):
            return windows[:, length - queries.stop : length - queries.start].flip(1)[None, ..., :keys]
        return windows[:, length - 1 - queries].transpose(0, 1)[..., :keys]  # (H, B, Q, S) -> (B, H, Q, S)

    def _build_vector(self, length: int) -> Tensor:
        """Return the bias of the offsets 1-L to L-1, (H, 2L-1)."""
        return self.function(torch.arange(1 - length, length, dtype=torch.float32))

    def _build_matrix(self, length: int) -> Tensor:
        """Return the bias of L queries for L keys, (H, L, L)."""
        return self._build_vector(length).unfold(1, length, 1).flip(1)
