"""The last product of a head and its cross-entropy in one function, by blocks of words.

It reads and writes memory fewer times than a product followed by ``F.cross_entropy``, and never keeps the logits
together with their softmax or gradient (as in Cut Your Losses, Wijmans et al., 2024, arXiv 2411.09009, and
Liger-Kernel). Shapes: N predictions, C channels, V words, W words of a block.
"""

import torch
from torch import Tensor

from .norm import inverse_norm

BLOCK = 1024  # words; the logits of a block and its rows of the table stay in the CPU's cache between steps


class _LinearCrossEntropy(torch.autograd.Function):
    """See :func:`linear_cross_entropy`.

    Between forward and backward it keeps exp(logit - maximum of the block) of every word. If N <= C these are stored in
    the memory of the table's gradient: the gradient of a block is written right after their last use. Without gradients
    only one block is kept. Frozen features or a frozen table need no gradient computation.
    """

    @staticmethod
    def forward(ctx, x, weight, target, bias, normalize):
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        fits = len(x) <= len(weight[0])
        kept = len(weight) if any(ctx.needs_input_grad) else BLOCK
        room = grad_weight if grad_weight is not None and fits else weight.new_empty(kept, len(x))
        inverse = weight.new_ones(len(weight))
        tops, log_sums = [], []
        for block in blocks(weight):
            w = weight[block]
            rows = room[block] if kept == len(weight) else room[: len(w)]
            logits = torch.mm(x, w.t(), out=reuse(rows, len(x)))  # (N, W)
            if normalize:
                inverse[block] = inverse_norm(w)
                logits *= inverse[block]
            if bias is not None:
                logits += bias[block]
            top = logits.amax(1).clamp_min_(torch.finfo(x.dtype).min)  # not -inf if all words are excluded
            log_sums.append(logits.sub_(top[:, None]).exp_().sum(1).log_().add_(top))
            tops.append(top)
        log_sum = torch.stack(log_sums).logsumexp(0)  # (N,)
        logit = torch.linalg.vecdot(x, weight[target]) * inverse[target]  # (N,)
        ctx.normalize, ctx.room = normalize, (room, grad_weight)
        ctx.save_for_backward(x, weight, target, bias, inverse, (torch.stack(tops) - log_sum).exp_())
        return (log_sum - (logit if bias is None else logit + bias[target])).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, weight, target, bias, inverse, shares = ctx.saved_tensors
        if ctx.room is None:
            raise RuntimeError("linear_cross_entropy supports one backward pass, and it has run already")
        (room, grad_weight), ctx.room = ctx.room, None
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        scaled_x = None if grad_weight is None else x * grad
        grad_bias = torch.empty_like(bias) if ctx.needs_input_grad[3] else None
        for block, share in zip(blocks(weight), shares, strict=True):
            w, inv = weight[block], inverse[block]
            g = reuse(room[block], len(x)).mul_(share[:, None])  # probabilities (N, W)
            predicted = ((target >= block.start) & (target < block.start + len(w))).nonzero().squeeze(1)
            g[predicted, target[predicted] - block.start] -= 1  # now the gradient of the logits
            if grad_bias is not None:
                grad_bias[block] = g.sum(0) * grad
            if ctx.normalize:
                g *= inv
            if grad_x is not None:
                grad_x.addmm_(g, w)
            if grad_weight is None or scaled_x is None:
                continue
            by_word = g.t() @ scaled_x  # (W, C)
            if ctx.normalize:  # remove the component along the row
                by_word.addcmul_(w, (torch.linalg.vecdot(by_word, w) * inv**2)[:, None], value=-1)
            grad_weight[block] = by_word
        return grad_x if grad_x is None else grad_x.mul_(grad), grad_weight, None, grad_bias, None


def blocks(weight: Tensor) -> list[slice]:
    """Return slices of a table (V, C) of ``BLOCK`` rows each; the last may be shorter."""
    return [slice(start, start + BLOCK) for start in range(0, len(weight), BLOCK)]


def reuse(rows: Tensor, predictions: int) -> Tensor:
    """View the start of contiguous rows (W, at least N) as (N, W), N being ``predictions``."""
    return rows.view(-1)[: len(rows) * predictions].view(predictions, len(rows))


def linear_cross_entropy(
    x: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None = None, normalize: bool = False
) -> Tensor:
    """Return the sum over N of -log softmax(x weight^T + bias)[target], a scalar, in nats.

    It supports one backward pass. It is meant for CPUs: on a GPU so many small kernels are slow.

    Args:
        x: (N, C) features; x, weight and bias are float32 or float64.
        weight: (V, C) table.
        target: (N,) indices of words.
        bias: (V,); -inf excludes a word.
        normalize: multiply the rows of the table by :func:`plugins.modules.norm.inverse_norm`.

    Raises:
        RuntimeError: a second backward pass.
    """
    if not torch.is_grad_enabled():  # autograd functions cannot see this themselves
        x, weight, bias = x.detach(), weight.detach(), bias if bias is None else bias.detach()
    return _LinearCrossEntropy.apply(x, weight, target, bias, normalize)
