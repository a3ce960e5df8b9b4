"""Positional schemes: how a Transformer encodes the order of its tokens.

A scheme acts at up to three places, and is the identity at the others:

    embed    adds to the token embeddings, before the first layer
    rotate   turns queries and keys, in every layer
    score    adds to the attention scores a number for each head and each offset (key position minus query position)

To add one, write a subclass of :class:`Positions` and add it to :data:`SCHEMES`, here or in a plugin of your own
(``SCHEMES["mine"] = Mine``). ``--positions`` of encoders and decoders, generation with a cache, and attention capture
then use it.

Shapes: B sequences, T tokens, Q queries, S keys, C channels, H heads of D = C / H channels.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .alibi import BOS_MODES, MOST_POSITIONS, alibi_slopes, asymmetric_distance, key_channels, query_channels
from .norm import at_least_float32
from .offset_bias import Grown, OffsetBias
from .scaling import SCALINGS, Scaling, attention_factor, rotary_frequencies

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
        scaling: of relative positions, see :class:`.scaling.Scaling`.
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

    Raises:
        ValueError: another kind of scaling.
    """

    key: str | None = "position_scheme"
    embeds = False
    limit: int | None = None
    scalings: tuple[str, ...] = ("none",)

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
        """Return what :meth:`rotate` needs for tokens at these positions; computed once for all layers."""
        return None

    def rotate(self, x: Tensor, angles: Tensor | None) -> Tensor:
        """Map queries or keys (B, H, T, D) to (B, H, T, D)."""
        return x

    def score(self, offset: Tensor) -> Tensor | None:
        """Return (H, N) float32, added to the scores of N offsets (N,), key position minus query position."""
        return None

    def channels(self, keys: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return further channels of queries, (H, E), and keys, (S, E), with which causal attention needs no bias.

        Args:
            keys: S; as many queries.
            device: of the result.
            dtype: of the result.

        Returns:
            None for a scheme that has none, or needs a bias in this type.
        """
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
        """Return what is added to the scores of queries at some positions for the keys at 0 to ``keys`` - 1.

        Args:
            queries: Q positions.
            keys: S.
            device: of the result.
            explicit: return a causal mask even where the kernel's ``is_causal`` does the same.
            window: exclude keys that precede a query by this many positions or more.
            dtype: of the result, to which it is rounded once.

        Returns:
            (1 or B, 1 or H, Q, S), minus infinity where attention is excluded; None for zeros, or where the
            kernel's ``is_causal`` does the same.
        """
        if not self.bias_heads(queries, keys, explicit, window):
            return None
        key = window, self.scaling.slope(keys), dtype
        if key not in self._offsets:
            if len(self._offsets) == MOST_OFFSETS:
                self._offsets.clear()
            self._offsets[key] = OffsetBias(functools.partial(self._masked_score, window=window, scale=key[1]), dtype)
        return self._offsets[key].rows(queries, keys, device)

    def _masked_score(self, offset: Tensor, window: int | None, scale: float) -> Tensor:
        score = self.score(offset)
        score = torch.zeros(1, len(offset)) if score is None else score * scale
        score = score.masked_fill(offset > 0, -math.inf) if self.causal else score
        return score if window is None else score.masked_fill(offset <= -window, -math.inf)


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


def shifted(where: Where, by: int) -> Where:
    """Return positions with a number added to each."""
    return slice(where.start + by, where.stop + by) if isinstance(where, slice) else where + by


def sinusoids(length: int, width: int) -> Tensor:
    """Return the (T, C) position vectors of Vaswani et al., 2017, section 3.5: sines, then cosines."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))  # (C/2,)
    angles = torch.arange(length)[:, None] * rates  # (T, C/2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]


class Alibi(Positions):
    """Attention with linear biases (Press et al., 2022, arXiv 2108.12409): minus a slope times the distance.

    In an encoder a key to the right counts as half a position nearer, so that no two offsets have the same bias
    (EIFY/fairseq, README, "nonsymmetric with offset").

    ``Spec.alibi_bos`` sets row and column 0, the bias from and to ``<s>``: ``linear`` as for every other token;
    ``zero``, so that ``<s>`` is near every token (as data2vec 2.0, arXiv 2212.07525, does for its extra tokens);
    ``learned``, one scalar per head (LittleBird, arXiv 2210.11870).

    The bias has the type of the queries, so that fused kernels take it. bfloat16 represents half a position up to a
    distance of 128; beyond it the half position is kept on average over neighboring distances. ``Spec.alibi_float32``
    keeps float32.

    Raises:
        ValueError: an unknown ``alibi_bos``.
    """

    key = "alibi"
    symmetric = False
    scalings = ("none", "linear", "dynamic")

    def __init__(self, spec: Spec):
        super().__init__(spec)
        if spec.alibi_bos not in BOS_MODES:
            raise ValueError(f"alibi_bos is one of {', '.join(BOS_MODES)}, not {spec.alibi_bos!r}")
        self.bos, self.float32 = spec.alibi_bos, spec.alibi_float32
        self.bos_bias = nn.Parameter(torch.zeros(spec.heads)) if self.bos == "learned" else None
        self.head_width = spec.width // spec.heads

    def score(self, offset: Tensor) -> Tensor:
        distance = offset.abs() if self.symmetric or self.causal else asymmetric_distance(offset)
        return -alibi_slopes(self.heads)[:, None] * distance

    def channels(self, keys: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """See :meth:`Positions.channels`. In float32 the bias is more precise."""
        if not self.causal or self.bos != "linear" or dtype.itemsize != 2 or keys > MOST_POSITIONS:
            return None
        key = dtype, self.scaling.slope(keys)
        if key not in self._channels:
            slopes = alibi_slopes(self.heads) * key[1]
            small = query_channels(slopes, self.head_width, dtype)
            self._channels[key] = Grown(lambda _: small, dtype), Grown(key_channels, dtype)
        of_queries, of_keys = self._channels[key]
        return of_queries(1, device), of_keys(keys, device)[:keys]

    def bias(
        self,
        queries: Where,
        keys: int,
        device: torch.device,
        explicit: bool = False,
        window: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """See :meth:`Positions.bias`."""
        dtype = torch.float32 if self.float32 else dtype
        bias = super().bias(queries, keys, device, explicit, window, dtype)  # (1 or B, H, Q, S)
        assert bias is not None, "ALiBi always has scores"
        if self.bos == "linear":
            return bias
        value = bias.new_zeros(self.heads) if self.bos_bias is None else self.bos_bias.to(dtype)
        if isinstance(queries, slice):
            queries = torch.arange(queries.start, queries.stop, device=device)
        at_bos = (queries == 0)[..., None] | (torch.arange(keys, device=device) == 0)  # (Q, S) or (B, Q, S)
        return torch.where(at_bos[..., None, :, :], value[:, None, None], bias)

    def extra_repr(self) -> str:
        return f"{self.heads}, symmetric={self.symmetric}, bos={self.bos!r}"


class SymmetricAlibi(Alibi):
    """ALiBi with the same bias on both sides of a token."""

    symmetric = True


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


SCHEMES: dict[str, type[Positions]] = {
    "learned": Learned,
    "sinusoidal": Sinusoidal,
    "alibi": Alibi,
    "alibi_symmetric": SymmetricAlibi,
    "rotary": Rotary,
}
DECODER_SCHEMES = tuple(name for name in SCHEMES if name != "alibi_symmetric")  # equals alibi without a right side


def build(name: str, spec: Spec) -> Positions:
    """Return a new scheme.

    Raises:
        ValueError: no scheme has this name, or the scheme cannot have these sizes.
    """
    if name not in SCHEMES:
        raise ValueError(f"positions is one of {', '.join(SCHEMES)}, not {name!r}")
    return SCHEMES[name](spec)
