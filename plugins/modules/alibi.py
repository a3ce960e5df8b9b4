"""The slopes and distances of ALiBi (Press et al., 2022, arXiv 2108.12409).

The scheme itself is :class:`plugins.modules.positions.Alibi`.
"""

import torch
from torch import Tensor

BOS_MODES = ("linear", "zero", "learned")


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
