"""The base class of positional schemes; the schemes are in the table of :mod:`.positions`.

Shapes: B sequences, T tokens, Q queries, S keys, C channels, H heads of D = C / H channels.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .flex import KernelBias
from .offset_bias import Grown, OffsetBias
from .scaling import Scaling

MOST_OFFSETS = 4  # biases kept at once, of different windows and scales
Where = slice | Tensor  # positions: a range that all sequences share, or (B, T) int64


@dataclass(frozen=True)
class Spec:
    """Arguments of a scheme.

    Attributes:
        width: C.
        heads: H.
        length: positions in the table, for schemes with a table.
        causal: tokens attend only to themselves and to what precedes them.
        padding_row: row of padding tokens in a table; the first position has the next row. None: no such row.
        alibi_bos: see :class:`Alibi`.
        alibi_float32: see :class:`Alibi`.
        scaling: scaling of relative positions, see :class:`.scaling.Scaling`.
    """

    width: int
    heads: int
    length: int
    causal: bool = False
    padding_row: int | None = None
    alibi_bos: str = "linear"
    scaling: Scaling = Scaling()
    alibi_float32: bool = False


class Positions(nn.Module):
    """Base class of the schemes: no positions at all, except that causal attention excludes later keys.

    Attributes:
        key: the attribute of the model that holds the scheme, and so the prefix of its state-dict keys. None: the
            model's own name for a position table.
        embeds: the scheme uses :meth:`embed`, which needs positions that do not count padding. Other schemes depend
            only on differences of positions, so that a cache can drop its oldest tokens.
        limit: the number of positions, or None for a scheme that takes inputs of any length.
        scalings: the kinds of scaling that the scheme supports.
        learned_score: :meth:`score` depends on parameters of the scheme, so it is computed in each pass.

    Raises:
        ValueError: another kind of scaling.
    """

    key: str | None = "position_scheme"
    embeds = False
    limit: int | None = None
    scalings: tuple[str, ...] = ("none",)
    learned_score = False

    def __init__(self, spec: Spec, **table: Any) -> None:
        super().__init__(**table)
        self.causal, self.heads = spec.causal, spec.heads
        self.first_row = 0 if spec.padding_row is None else spec.padding_row + 1
        self.rescale(spec.scaling)

    def rescale(self, scaling: Scaling) -> None:
        """Scale positions in another way from now on.

        Raises:
            ValueError: a kind that the scheme does not support.
        """
        if scaling.kind not in self.scalings:
            raise ValueError(f"{type(self).__name__} supports scaling {', '.join(self.scalings)}, not {scaling.kind!r}")
        self.scaling = scaling
        self._offsets: dict[tuple, OffsetBias] = {}  # by window, scale and type
        self._channels: dict[tuple, tuple[Grown, Grown]] = {}  # by type and scale
        self._kernel_slopes: dict[float, Grown] = {}  # by scale

    def embed(self, x: Tensor, where: Where, end: int) -> Tensor:
        """Add positions to embedded tokens.

        Args:
            x: (B, T, C).
            where: the positions of the tokens, -1 for padding.
            end: a number above every position.

        Returns:
            (B, T, C).
        """
        return x

    def angles(self, where: Where, end: int, device: torch.device) -> Tensor | None:
        """Return the argument of :meth:`rotate` for tokens at these positions; computed once for all layers."""
        return None

    def rotate(self, x: Tensor, angles: Tensor | None) -> Tensor:
        """Map queries or keys (B, H, T, D) to (B, H, T, D)."""
        return x

    def score(self, offset: Tensor) -> Tensor | None:
        """Return what is added to the attention scores of N offsets.

        Args:
            offset: (N,) key position minus query position, whole numbers in float32, on the device of the parameters
                (``learned_score``) or the CPU.

        Returns:
            (H, N) float32, or None for zeros.
        """
        return None

    def channels(self, keys: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return further channels of queries, (H, E), and keys, (S, E), with which causal attention needs no bias.

        Args:
            keys: S; as many queries.
            device: device of the result.
            dtype: data type of the result.

        Returns:
            None for a scheme that has none, or needs a bias in this type.
        """
        return None

    def kernel_bias(self, keys: int, device: torch.device) -> KernelBias | None:
        """Return the bias of all queries for all S keys in the form of :mod:`.flex`, or None if it has no such form."""
        return None

    def bias_heads(self, queries: Where, keys: int, explicit: bool = False, window: int | None = None) -> int:
        """Return how many heads :meth:`bias` has: H, 1 for a mask, 0 if it returns None. Arguments as there."""
        if type(self).score is not Positions.score:
            return self.heads
        if window is not None and keys > window:
            return 1
        if not self.causal:
            return 0
        count = queries.stop - queries.start if isinstance(queries, slice) else 0
        return int(explicit or count not in (1, keys))

    def bias(
        self,
        queries: Where,
        keys: int,
        device: torch.device,
        explicit: bool = False,
        window: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor | None:
        """Return the bias that is added to the scores of queries at some positions and the keys at 0 to ``keys`` - 1.

        Args:
            queries: Q positions.
            keys: S.
            device: device of the result.
            explicit: return a causal mask even where the kernel's ``is_causal`` does the same.
            window: exclude keys that precede a query by this many positions or more.
            dtype: data type of the result, to which it is rounded once.

        Returns:
            (1 or B, 1 or H, Q, S), minus infinity where attention is excluded; None for zeros, or where the
            kernel's ``is_causal`` does the same.
        """
        if not self.bias_heads(queries, keys, explicit, window):
            return None
        dtype = self.bias_type(dtype)
        key = window, self.scaling.slope(keys), dtype
        if key not in self._offsets:
            if len(self._offsets) == MOST_OFFSETS:
                self._offsets.clear()
            score = functools.partial(self._masked_score, window=window, scale=key[1])
            self._offsets[key] = OffsetBias(score, dtype, keep=not self.learned_score)
        return self.adjust(self._offsets[key].rows(queries, keys, device), queries)

    def bias_type(self, dtype: torch.dtype) -> torch.dtype:
        """Return the type of the bias for queries of a type."""
        return dtype

    def adjust(self, bias: Tensor, queries: Where) -> Tensor:
        """Return the bias (1 or B, 1 or H, Q, S) with changes that depend on positions, not only on their offset."""
        return bias

    def _masked_score(self, offset: Tensor, window: int | None, scale: float) -> Tensor:
        offset = offset.to(next(self.parameters()).device) if self.learned_score else offset
        score = self.score(offset)
        score = torch.zeros(1, len(offset)) if score is None else score * scale
        score = score.masked_fill(offset > 0, -math.inf) if self.causal else score
        return score if window is None else score.masked_fill(offset <= -window, -math.inf)


def shifted(where: Where, by: int) -> Where:
    """Return positions with a number added to each."""
    return slice(where.start + by, where.stop + by) if isinstance(where, slice) else where + by
