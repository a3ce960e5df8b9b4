"""Dropout whose random numbers are cheap on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16  # a probability is rounded to the nearest 1/65,536


def keep_mask(like: Tensor, p: float) -> Tensor:
    """Return a boolean mask of the shape of ``like``, True with probability 1 - p, rounded to 16 bits.

    One 64-bit draw of torch's generator serves four elements; ``bernoulli_`` takes a draw for each, and on a CPU
    draws are what dropout's time goes into.
    """
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    draws.random_(-(1 << 63), None)
    bits = draws.view(torch.int16)[: like.numel()].view(like.shape)
    return bits >= round(p * LEVELS) - LEVELS // 2


class _CheapDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p):
        keep = keep_mask(x, p)
        ctx.scale = 1 / (1 - p)
        ctx.save_for_backward(keep)
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Like :func:`torch.nn.functional.dropout`, several times as fast on a CPU and equal to it elsewhere."""
    if not training or p == 0:
        return x
    if x.device.type != "cpu" or p >= 1 or torch.compiler.is_compiling():
        return F.dropout(x, p, training)
    return _CheapDropout.apply(x, p)


class Dropout(nn.Dropout):
    """:func:`dropout` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)
