"""The slopes and distances of ALiBi (Press et al., 2022, arXiv 2108.12409).

The scheme itself is :class:`plugins.modules.positions.Alibi`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BOS_MODES = ("linear", "zero", "learned")
CHANNELS = 8  # four are used; GPU kernels want the head dimension to be a multiple of eight
LOW = 128  # positions are a multiple of it and a rest: bfloat16 represents both
MOST_POSITIONS = LOW * 256


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
