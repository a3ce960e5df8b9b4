"""The last product of a language-model head and its cross-entropy in one function of bounded memory.

The predictions are computed in chunks, and the gradient of a chunk in the forward pass, right after its logits, which
are not needed again (as in Liger-Kernel, Hsu et al., 2024, arXiv 2410.10989, section 3.2). On a CPU a chunk is computed
in blocks of words that stay in the cache; on a GPU all words at once, padded to a multiple of 64. Logits, their softmax
and sums are float32 at least; the factors of products are rounded to the type of autocast where it is on, else to that
of features and table. Logits rounded to bfloat16 would shift the loss: the rounding of a likely word is the same in all
predictions of it.

Peak memory in bytes, in addition to the inputs and their gradients, with n = min(``ROWS``, ``NUMBERS`` / V), or half of
it on a GPU, where logits and probabilities exist at once: 4 n V for logits, 2 n V for their gradient and 2 V C for the
table in half precision, and 4 V C for sums if the table itself is half precision: at most 0.84 GB at 131,072
predictions of 50,257 words with 768 channels, where all logits and their gradient would take 53 GB.

Shapes: N predictions, n of a chunk, C channels, V words, W words of a block.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .products import cpu_products, types_of
from .word_table import Gradients, WordTable, in_one_block

ROWS = 4096  # predictions of a chunk at most; with more, products are no faster
NUMBERS = 3 << 25  # logits of a chunk at most


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    normalize: bool = False,
    scale: Tensor | None = None,
) -> Tensor:
    """Return the sum over N of -log softmax(scale * x weight^T + bias)[target], a scalar, in nats, in float32 at least.

    It supports one backward pass. The gradients are computed here, and only multiplied in the backward pass.

    Args:
        x: (N, C) features.
        weight: (V, C) table.
        target: (N,) indices of words.
        bias: (V,); -inf excludes a word.
        normalize: multiply the rows of the table by :func:`plugins.modules.norm.inverse_norm`.
        scale: (1,), or None for 1.

    Raises:
        IndexError: (on a CPU) a target that is not an index of the table.
        RuntimeError: a second backward pass.
    """
    if target.device.type == "cpu" and len(target) and not 0 <= target.min() <= target.max() < len(weight):
        raise IndexError(f"targets from {target.min()} to {target.max()} for a table of {len(weight)} words")
    if not torch.is_grad_enabled():  # autograd functions cannot see this themselves
        x, weight = x.detach(), weight.detach()
        bias, scale = (t if t is None else t.detach() for t in (bias, scale))
    return _LinearCrossEntropy.apply(x, weight, scale, bias, target, normalize)


class _LinearCrossEntropy(torch.autograd.Function):
    """See :func:`linear_cross_entropy`."""

    @staticmethod
    def forward(ctx, x, weight, scale, bias, target, normalize):
        types = types_of(x, weight)
        most = NUMBERS // 2 if in_one_block(x.device) else NUMBERS  # logits and probabilities exist at once
        size = max(1, min(ROWS, most // max(1, len(weight))))
        chunks = [slice(start, start + size) for start in range(0, max(1, len(x)), size)]
        needed = ctx.needs_input_grad[:4]
        with torch.autocast(x.device.type, enabled=False), cpu_products(x.device, types[0]):
            keep = types[1] != weight.dtype and len(chunks) > 1
            table = WordTable(weight, bias, scale, normalize, types, keep, predictions=min(size, len(x)))
            gradients = Gradients(table, x, needed) if any(needed) else None
            loss = torch.zeros((), dtype=table.full, device=x.device)
            for rows in chunks:
                loss += add_chunk(table, x[rows], target[rows], gradients, rows, chunks)
        ctx.gradients, ctx.types = gradients, [None if t is None else t.dtype for t in (x, weight, scale, bias)]
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        found, ctx.gradients = ctx.gradients, None
        if found is None:
            raise RuntimeError("linear_cross_entropy supports one backward pass, and it has run already")
        tensors = (found.features, found.weight, found.scale, found.bias)
        if grad.device.type != "cpu" or grad != 1:  # elsewhere the comparison would wait for the device
            for tensor in tensors:
                if tensor is not None:
                    tensor *= grad
        pairs = zip(tensors, ctx.types, strict=True)
        return *(tensor if tensor is None else tensor.to(dtype) for tensor, dtype in pairs), None, None


def add_chunk(
    table: WordTable, x: Tensor, target: Tensor, gradients: Gradients | None, rows: slice, chunks: Sequence[slice]
) -> Tensor:
    """Return the summed loss of features (n, C) and targets (n,), and add its gradients.

    Args:
        table: the table.
        x: (n, C).
        target: (n,) indices of words.
        gradients: receives the gradients; None computes none.
        rows: the rows of the chunk.
        chunks: those of all chunks.
    """
    x = x.to(table.factor)
    if table.whole:
        return add_whole_chunk(table, x, target[:, None], gradients, rows, chunks)
    exponentials, tops, log_sums = [], [], []
    logit = x.new_zeros(len(x), dtype=table.full)  # logit of each target
    for block in table.blocks:
        logits = table.logits(x, block)  # (n, W)
        spot, inside = find(target, block)
        logit = torch.where(inside, logits.gather(1, spot), logit[:, None])[:, 0]
        top = logits.amax(1).clamp_min_(torch.finfo(table.full).min)  # not -inf if all words are excluded
        log_sums.append(logits.sub_(top[:, None]).exp_().sum(1).log_().add_(top))
        tops.append(top)
        if gradients is not None:
            exponentials.append(logits)
    log_sum = torch.stack(log_sums).logsumexp(0)  # (n,)
    del logits
    if gradients is not None:
        of_target = (logit - log_sum).expm1_()[:, None]  # probability - 1, without cancellation
        for i, block in enumerate(table.blocks):
            g = exponentials[i].mul_((tops[i] - log_sum).exp_()[:, None])  # probabilities
            spot, inside = find(target, block)
            g.scatter_(1, spot, torch.where(inside, of_target, g.gather(1, spot)))  # now the gradient
        del g
        gradients.add(exponentials, x, rows, rows is chunks[0], rows is chunks[-1])
    return (log_sum - logit).sum()


def add_whole_chunk(
    table: WordTable, x: Tensor, target: Tensor, gradients: Gradients | None, rows: slice, chunks: Sequence[slice]
) -> Tensor:
    """Like :func:`add_chunk`, with all words at once, in as few passes over the logits as torch's functions allow."""
    logits = table.logits(x, table.blocks[0])  # (n, W)
    top, likeliest = logits.max(1, keepdim=True)  # (n, 1)
    logit = logits.gather(1, target)
    by_logits = logits.softmax(1)
    del logits
    log_sum = top - by_logits.gather(1, likeliest).log()  # a probability of at least 1 / W, so without underflow
    if gradients is not None:
        by_logits.scatter_(1, target, (logit - log_sum).expm1_())  # probability - 1, without cancellation
        found = [by_logits]
        del by_logits  # gradients.add() frees it
        gradients.add(found, x, rows, rows is chunks[0], rows is chunks[-1])
    return (log_sum - logit).sum()


def find(target: Tensor, block: slice) -> tuple[Tensor, Tensor]:
    """Return the column of each target (n,) in a block, or the nearest one, and whether it is the target's: (n, 1)."""
    inside = (target >= block.start) & (target < block.stop)
    return (target - block.start).clamp(0, block.stop - block.start - 1)[:, None], inside[:, None]
