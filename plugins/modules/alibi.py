"""Attention with linear biases (ALiBi; Press et al., 2022, arXiv 2108.12409).

Shapes: B sequences, Q queries, S keys, H heads of D channels.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .flex import KernelBias
from .offset_bias import Grown
from .position_scheme import Positions, Spec, Where

BOS_MODES = ("linear", "zero", "learned")
CHANNELS = 8  # four are used; GPU kernels want the head dimension to be a multiple of eight
LOW = 128  # positions are a multiple of it and a rest: bfloat16 represents both
MOST_POSITIONS = LOW * 256


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
        scale = self.scaling.slope(keys)
        if (dtype, scale) not in self._channels:
            build = functools.partial(self._query_channels, scale=scale, dtype=dtype)
            self._channels[dtype, scale] = Grown(build, dtype), Grown(key_channels, dtype)
        of_queries, of_keys = self._channels[dtype, scale]
        return of_queries(1, device), of_keys(keys, device)[:keys]

    def kernel_bias(self, keys: int, device: torch.device) -> KernelBias | None:
        """See :meth:`.Positions.kernel_bias`."""
        if self.causal or self.bos == "learned":
            return None
        scale = self.scaling.slope(keys)
        if scale not in self._kernel_slopes:
            self._kernel_slopes[scale] = Grown(functools.partial(self._slopes, scale=scale))
        return KernelBias(self._kernel_slopes[scale](1, device), self.symmetric, self.bos == "zero")

    def bias_type(self, dtype: torch.dtype) -> torch.dtype:
        """See :meth:`Positions.bias_type`."""
        return torch.float32 if self.float32 else dtype

    def adjust(self, bias: Tensor, queries: Where) -> Tensor:
        """Set the bias from and to ``<s>``; see :meth:`Positions.adjust`."""
        if self.bos == "linear":
            return bias
        value = bias.new_zeros(self.heads) if self.bos_bias is None else self.bos_bias.to(bias.dtype)
        if isinstance(queries, slice):
            queries = torch.arange(queries.start, queries.stop, device=bias.device)
        keys = torch.arange(bias.size(-1), device=bias.device)
        at_bos = (queries == 0)[..., None] | (keys == 0)  # (Q, S) or (B, Q, S)
        return torch.where(at_bos[..., None, :, :], value[:, None, None], bias)

    # Methods, as the functions of Grown are pickled with a model

    def _slopes(self, length: int, scale: float) -> Tensor:
        """Return the (H,) slopes times a scale, whatever the length."""
        return alibi_slopes(self.heads) * scale

    def _query_channels(self, length: int, scale: float, dtype: torch.dtype) -> Tensor:
        """See :func:`query_channels`."""
        return query_channels(self._slopes(length, scale), self.head_width, dtype)

    def extra_repr(self) -> str:
        return f"{self.heads}, symmetric={self.symmetric}, bos={self.bos!r}"


class SymmetricAlibi(Alibi):
    """ALiBi with the same bias on both sides of a token."""

    symmetric = True


def alibi_slopes(num_heads: int) -> Tensor:
    """Return the (H,) slopes of the paper, section 3.

    If H is a power of two they are the geometric sequence 2^(-8/H), 2^(-16/H), ... For any other H they are the slopes
    of the next lower power of two, followed by every second slope of the next higher one.
    """
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    slopes += [2 ** (-4 * (2 * h + 1) / power) for h in range(num_heads - power)]
    return torch.tensor(slopes)


def asymmetric_distance(offset: Tensor) -> Tensor:
    """Return the distances of offsets (key minus query) where a key to the right is half a position nearer."""
    return offset.abs() - 0.5 * (offset > 0)


def query_channels(slopes: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return channels of queries, (H, 8) float32, whose products with :func:`key_channels` are slope * position.

    In causal attention these are the bias but for a constant of each query, which the softmax does not notice. So no
    bias is needed, and a kernel that only knows causal masks takes ALiBi.

    Args:
        slopes: (H,).
        width: D, without these channels; attention divides products by its root.
        dtype: type to which the channels will be rounded: they are the sums of a high and a low part.
    """
    slopes = slopes * width**0.5
    high = slopes.to(dtype).float()
    low = (slopes - high).to(dtype).float()
    return F.pad(torch.stack([high, high, low, low], dim=-1), (0, CHANNELS - 4))


def key_channels(length: int) -> Tensor:
    """Return channels of the keys at 0 to S - 1, (S, 8); see :func:`query_channels`."""
    position = torch.arange(length)
    low = position % LOW
    return F.pad(torch.stack([position - low, low, position - low, low], dim=-1), (0, CHANNELS - 4)).float()
