"""ALiBi by ``flex_attention`` (Dong et al., 2024, arXiv 2412.05496): the bias is computed in the kernel, in float32.

Shapes: B sequences, T tokens, H heads of D channels.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

HIDDEN = -3e4  # added to the scores of padded keys
MOST_SHAPES = 2  # (B, T) of a model for which the kernel is compiled; one for any shape is slow
MOST_KERNELS = 128  # of all models, shapes and types in a process; beyond dynamo's limit of 8 it would run unfused
OPTIONS: Any = {"ROWS_GUARANTEED_SAFE": True, "BLOCKS_ARE_CONTIGUOUS": True}  # no score is minus infinity, none skipped


class KernelBias(NamedTuple):
    """An ALiBi bias of all queries for all keys.

    Attributes:
        slopes: (H,) float32.
        symmetric: keys on both sides are equally near; else those on the right are half a position nearer.
        near_bos: the bias from and to the first token is 0.
    """

    slopes: Tensor
    symmetric: bool  # dynamo makes graphs for booleans, and a variable of a float
    near_bos: bool


def attend(q: Tensor, k: Tensor, v: Tensor, bias: KernelBias, padding: Tensor | None) -> Tensor:
    """Return the weighted values of every token.

    Args:
        q, k, v: (B, H, T, D), on a GPU.
        bias: added to the scores.
        padding: (B, T), True at the keys that are excluded, or None.

    Returns:
        (B, H, T, D).
    """
    hidden = None if padding is None else padding * HIDDEN  # (B, T) float32
    run = attend_in_kernel if torch.compiler.is_compiling() else compiled()
    with torch.autocast(q.device.type, enabled=False):
        return run(q, k.to(q.dtype), v.to(q.dtype), bias, hidden)


def attend_in_kernel(q: Tensor, k: Tensor, v: Tensor, bias: KernelBias, hidden: Tensor | None) -> Tensor:
    """See :func:`attend`; (B, T) ``hidden`` is added to the scores of the keys. Fast only when compiled."""
    slopes, symmetric, near_bos = bias

    def score(value: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        # Indices are converted before the subtraction, so that vectors are converted and not a matrix. With d = key -
        # query, half a position less on the right is |d - 1/4| - 1/4, whose last term is the same for all keys.
        place = query.float() if symmetric else query.float() + 0.25
        distance = (key.float() - place).abs()
        if near_bos:
            distance = torch.where((query == 0) | (key == 0), 0 if symmetric else 0.25, distance)
        value = value - slopes[head] * distance
        return value if hidden is None else value + hidden[batch, key]

    return flex_attention(q, k, v, score_mod=score, kernel_options=OPTIONS)


@functools.cache
def compiled() -> Callable[..., Tensor]:
    """Return :func:`attend_in_kernel`, compiled when it runs for the first time."""
    config: Any = torch._dynamo.config
    config.recompile_limit = max(MOST_KERNELS, config.recompile_limit)
    return torch.compile(attend_in_kernel, dynamic=False)


def runs_on(device: torch.device) -> bool:
    """Return whether there is a kernel with a backward pass for a device."""
    return device.type == "cuda"
