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

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .norm import at_least_float32, inverse_norm

ROWS = 4096  # predictions of a chunk at most; with more, products are no faster
NUMBERS = 3 << 25  # logits of a chunk at most
ALIGNMENT = 64  # words; products of other widths take kernels that are several times slower on a GPU
BLOCK = 1024  # words; the logits of a block and its rows of the table stay in the CPU's cache between steps
FLOAT16_GAIN = 1024.0  # float16 cannot represent the probability of a rare word


class _Table:
    """A table (V, C) in blocks of words, and the products with it.

    Args:
        weight: (V, C).
        bias: (V,), or None.
        scale: (1,), factor of the products, or None.
        normalize: divide the products by the norms of the rows.
        types: of :func:`types_of`.
        keep: keep the rows as factors of products; otherwise they are converted for each use.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        scale: Tensor | None,
        normalize: bool,
        types: tuple[torch.dtype, torch.dtype, torch.dtype],
        keep: bool,
    ):
        self.weight, self.bias, self.scale, self.normalize = weight, bias, scale, normalize
        self.rounded, self.factor, self.full = types
        self.whole = in_one_block(weight.device)
        self.padding = -len(weight) % ALIGNMENT if self.whole else 0
        self.keep = keep or self.padding > 0
        words = len(weight) + self.padding
        size = max(1, words) if self.whole else BLOCK
        self.blocks = [slice(start, min(start + size, words)) for start in range(0, words, size)]
        if self.bias is not None and self.padding:
            self.bias = F.pad(self.bias, (0, self.padding), value=-torch.inf)

    @cached_property
    def inverse(self) -> Tensor | None:
        """1 / norm of each row, (V,), or None. Rows are rounded first, so that the norm fits the products."""
        if not self.normalize:
            return None
        norms = torch.cat([inverse_norm(self.weight[block].to(self.rounded)) for block in self.blocks])
        return F.pad(norms, (0, self.padding))

    @cached_property
    def kept(self) -> Tensor:
        """The table as factor of products, with rows of zeros for the padding."""
        return F.pad(self.weight.to(self.factor), (0, 0, 0, self.padding))

    def rows(self, block: slice) -> Tensor:
        """Return the factor (W, C) of products."""
        return self.kept[block] if self.keep else self.weight[block].to(self.factor)

    def logits(self, x: Tensor, block: slice, out: Tensor | None) -> Tensor:
        """Return the logits (n, W) of features (n, C), written to ``out``."""
        logits = product(x, self.rows(block).t(), self.full, out)
        if self.inverse is not None:
            logits *= self.inverse[block] if self.scale is None else self.inverse[block] * self.scale
        elif self.scale is not None:
            logits *= self.scale
        if self.bias is not None:
            logits += self.bias[block]
        elif self.padding:
            logits[:, -self.padding :] = -torch.inf
        return logits

    def gradient(self, by_row: Tensor, block: slice) -> Tensor:
        """Return the gradient of rows, changing in place that of their products' factors, which are normalized."""
        if self.scale is not None:
            by_row *= self.scale
        if self.inverse is not None:  # remove the component along the row
            rows = self.weight[block].to(self.full)
            along = torch.linalg.vecdot(by_row, rows) * self.inverse[block][: len(rows)] ** 2
            by_row.addcmul_(rows, along[:, None], value=-1)
        return by_row


class _Gradients:
    """Gradients of features, table, scale and bias, summed over chunks; None where not needed."""

    def __init__(self, table: _Table, x: Tensor, needed: Sequence[bool]):
        self.table, full = table, table.full
        self.features = torch.empty_like(x) if needed[0] else None
        self.weight = torch.empty_like(table.weight, dtype=full) if needed[1] else None
        self.scale = torch.zeros_like(table.scale, dtype=full) if needed[2] and table.scale is not None else None
        self.bias = (
            table.weight.new_zeros(len(table.weight), dtype=full) if needed[3] and table.bias is not None else None
        )
        self.gain: float | Tensor = 1.0
        if table.factor == torch.float16:  # gradients are multiplied by it while they are in float16
            largest = 1.0 if table.inverse is None else table.inverse.amax().clamp_min(1)
            self.gain = FLOAT16_GAIN / largest

    def room(self, n: int, chunks: int) -> list[Tensor]:
        """Return a tensor (n, W) for each block. A single chunk can use the memory of the table's gradient."""
        table = self.table
        free = self.weight if chunks == 1 and n <= table.weight.size(1) and not table.padding else None
        room = table.weight.new_empty(table.blocks[-1].stop, n, dtype=table.full) if free is None else free
        return [reuse(room[block], n) for block in table.blocks]

    def add(self, by_logits: list[Tensor], x: Tensor, rows: slice, first: bool, last: bool) -> None:
        """Add those of a chunk.

        Args:
            by_logits: of each block, the gradient of the logits, (n, W); emptied.
            x: (n, C) features as factors of products.
            rows: indices of the chunk.
            first, last: no chunk precedes, none follows.
        """
        table = self.table
        summed = torch.zeros_like(x, dtype=table.full)  # gradient of scale * x, (n, C)
        for block in table.blocks:
            g = by_logits.pop(0)
            count = len(table.weight[block])  # W without padding
            if self.bias is not None:
                self.bias[block] += g.sum(0)[:count]
            if table.inverse is not None:
                g *= table.inverse[block]
            g = (g if table.factor != torch.float16 else g.mul_(self.gain)).to(table.factor)
            if self.features is not None or self.scale is not None:
                add_product(summed, g, table.rows(block))
            if self.weight is not None:
                by_row = product(g.t(), x, table.full)[:count]  # (W, C)
                by_row = by_row if table.factor != torch.float16 else by_row.div_(self.gain)
                by_row = by_row if first else by_row.add_(self.weight[block])
                self.weight[block] = table.gradient(by_row, block) if last else by_row
        summed = summed if table.factor != torch.float16 else summed.div_(self.gain)
        if self.scale is not None:
            self.scale += (summed * x).sum()
        if self.features is not None:
            self.features[rows] = summed if table.scale is None else summed.mul_(table.scale)


class _LinearCrossEntropy(torch.autograd.Function):
    """See :func:`linear_cross_entropy`."""

    @staticmethod
    def forward(ctx, x, weight, scale, bias, target, normalize):
        types = types_of(x, weight)
        most = NUMBERS // 2 if in_one_block(x.device) else NUMBERS  # logits and probabilities exist at once
        size = max(1, min(ROWS, most // max(1, len(weight))))
        chunks = [slice(start, start + size) for start in range(0, max(1, len(x)), size)]
        needed = ctx.needs_input_grad[:4]
        with torch.autocast(x.device.type, enabled=False), rounded_products(x.device, types):
            table = _Table(weight, bias, scale, normalize, types, keep=types[1] != weight.dtype and len(chunks) > 1)
            gradients = _Gradients(table, x, needed) if any(needed) else None
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
    table: _Table, x: Tensor, target: Tensor, gradients: _Gradients | None, rows: slice, chunks: Sequence[slice]
) -> Tensor:
    """Return the summed loss of features (n, C) and targets (n,), and add its gradients."""
    x = x.to(table.factor)
    if table.whole:
        return add_whole_chunk(table, x, target[:, None], gradients, rows, chunks)
    room = None if gradients is None else gradients.room(len(x), len(chunks))
    exponentials, tops, log_sums = [], [], []
    logit = x.new_zeros(len(x), dtype=table.full)  # of the target
    for i, block in enumerate(table.blocks):
        logits = table.logits(x, block, None if room is None else room[i])  # (n, W)
        spot, inside = find(target, block)
        logit = torch.where(inside, logits.gather(1, spot), logit[:, None])[:, 0]
        top = logits.amax(1).clamp_min_(torch.finfo(table.full).min)  # not -inf if all words are excluded
        log_sums.append(logits.sub_(top[:, None]).exp_().sum(1).log_().add_(top))
        tops.append(top)
        if gradients is not None:
            exponentials.append(logits)
    log_sum = torch.stack(log_sums).logsumexp(0)  # (n,)
    del logits, room
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
    table: _Table, x: Tensor, target: Tensor, gradients: _Gradients | None, rows: slice, chunks: Sequence[slice]
) -> Tensor:
    """Do the same with all words at once, in as few passes over the logits as torch's functions allow."""
    logits = table.logits(x, table.blocks[0], None)  # (n, W)
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


def in_one_block(device: torch.device) -> bool:
    """Return whether all words are computed at once: where no cache is large enough for a block."""
    return device.type != "cpu"


def find(target: Tensor, block: slice) -> tuple[Tensor, Tensor]:
    """Return the column of each target (n,) in a block, or the nearest one, and whether it is the target's: (n, 1)."""
    inside = (target >= block.start) & (target < block.stop)
    return (target - block.start).clamp(0, block.stop - block.start - 1)[:, None], inside[:, None]


def types_of(x: Tensor, weight: Tensor) -> tuple[torch.dtype, torch.dtype, torch.dtype]:
    """Return the type that factors of products are rounded to, the type that they are passed in, and that of results.

    A CPU's products return the type of their factors, so these are float32, and the product rounds them itself.
    """
    rounded, device = torch.promote_types(x.dtype, weight.dtype), x.device.type
    full = at_least_float32(rounded)
    if full == torch.float32 and torch.is_autocast_enabled(device):
        rounded = torch.get_autocast_dtype(device)
    return rounded, full if device == "cpu" else rounded, full


@contextlib.contextmanager
def rounded_products(device: torch.device, types: tuple[torch.dtype, torch.dtype, torch.dtype]) -> Iterator[None]:
    """Let a CPU round factors of float32 products to bfloat16, if that is the first type and it has such products."""
    if device.type != "cpu" or types[0] != torch.bfloat16:
        yield
        return
    options: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = options.fp32_precision
    options.fp32_precision = "bf16"
    try:
        yield
    finally:
        options.fp32_precision = before


def product(a: Tensor, b: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """Return the matrix product of a and b in another type, written to ``out``."""
    if a.dtype == dtype:
        return torch.mm(a, b, out=out)
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=dtype) if out is None else torch.mm(a, b, out_dtype=dtype, out=out)
    return torch.mm(a, b).to(dtype) if out is None else out.copy_(torch.mm(a, b))


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the matrix product of a and b to ``total``, in place, in its type."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += product(a, b, total.dtype)


def reuse(rows: Tensor, predictions: int) -> Tensor:
    """View the start of contiguous rows (W, at least n) as (n, W), n being ``predictions``."""
    return rows.view(-1)[: len(rows) * predictions].view(predictions, len(rows))


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
