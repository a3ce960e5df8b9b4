"""A table of words in blocks, and the gradients of products with it; parts of :mod:`.linear_cross_entropy`.

Shapes: N predictions, n of a chunk, C channels, V words, W words of a block.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .norm import inverse_norm
from .products import add_product, gradient_factor, product, rounds

ALIGNMENT = 64  # words; products of other widths take kernels that are several times slower on a GPU
LEAST_WORDS, MOST_WORDS = 1024, 4096  # of a block; its rows of the table and their gradient stay in the CPU's cache
LOGITS = 1 << 21  # of a block; with fewer, calls of functions take a large part of the time
FLOAT16_GAIN = 1024.0  # float16 cannot represent the probability of a rare word


class WordTable:
    """A table (V, C) in blocks of words, and the products with it.

    Args:
        weight: (V, C).
        bias: (V,), or None.
        scale: (1,), factor of the products, or None.
        normalize: divide the products by the norms of the rows.
        types: returned by :func:`.products.types_of`.
        keep: keep the rows as factors of products; otherwise they are converted for each use.
        predictions: n; with few, a block has more words.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        scale: Tensor | None,
        normalize: bool,
        types: tuple[torch.dtype, torch.dtype, torch.dtype],
        keep: bool,
        predictions: int,
    ):
        self.weight, self.bias, self.scale, self.normalize = weight, bias, scale, normalize
        self.rounded, self.factor, self.full = types
        self.rounds = rounds(weight.device, types)
        self.gradient_factor = gradient_factor(weight.device, types)
        self.whole = in_one_block(weight.device)
        self.padding = -len(weight) % ALIGNMENT if self.whole else 0
        self.keep = keep or self.padding > 0
        words = len(weight) + self.padding
        size = max(1, words) if self.whole else words_of_block(predictions)
        self.blocks = [slice(start, min(start + size, words)) for start in range(0, words, size)]
        if self.bias is not None and self.padding:
            self.bias = F.pad(self.bias, (0, self.padding), value=-torch.inf)

    @cached_property
    def inverse(self) -> Tensor | None:
        """1 / norm of each row, (V,), or None. Rows are rounded first if products do so, so that the norm fits them."""
        if not self.normalize:
            return None
        dtype = self.rounded if self.rounds else self.weight.dtype
        norms = torch.cat([inverse_norm(self.weight[block].to(dtype)) for block in self.blocks])
        return F.pad(norms, (0, self.padding))

    @cached_property
    def kept(self) -> Tensor:
        """The table as factor of products, with rows of zeros for the padding."""
        return F.pad(self.weight.to(self.factor), (0, 0, 0, self.padding))

    def rows(self, block: slice) -> Tensor:
        """Return the factor (W, C) of products."""
        return self.kept[block] if self.keep else self.weight[block].to(self.factor)

    def logits(self, x: Tensor, block: slice) -> Tensor:
        """Return the logits (n, W) of features (n, C)."""
        logits = product(x, self.rows(block).t(), self.full)
        if self.inverse is not None:
            logits *= self.inverse[block] if self.scale is None else self.inverse[block] * self.scale
        elif self.scale is not None:
            logits *= self.scale
        if self.bias is not None:
            logits += self.bias[block]
        elif self.padding:
            logits[:, -self.padding :] = -torch.inf
        return logits

    def to_gradient(self, by_row: Tensor, block: slice) -> None:
        """Change the gradient of the factors of products (W, C), normalized rows, to that of the rows, in place."""
        if self.scale is not None:
            by_row *= self.scale
        if self.inverse is not None:  # remove the component along the row
            rows = self.weight[block].to(self.full)
            by_row = by_row[: len(rows)]
            along = torch.linalg.vecdot(by_row, rows) * self.inverse[block][: len(rows)] ** 2
            by_row.addcmul_(rows, along[:, None], value=-1)


class Gradients:
    """Gradients of features, table, scale and bias, summed over chunks; None where not needed."""

    def __init__(self, table: WordTable, x: Tensor, needed: Sequence[bool]):
        self.table, full = table, table.full
        self.features = torch.empty_like(x) if needed[0] else None
        self.weight = table.weight.new_empty(table.blocks[-1].stop, x.size(1), dtype=full) if needed[1] else None
        self.scale = torch.zeros_like(table.scale, dtype=full) if needed[2] and table.scale is not None else None
        self.bias = (
            table.weight.new_zeros(len(table.weight), dtype=full) if needed[3] and table.bias is not None else None
        )
        self.gain: float | Tensor = 1.0
        if table.factor == torch.float16:  # gradients are multiplied by it while they are in float16
            largest = 1.0 if table.inverse is None else table.inverse.amax().clamp_min(1)
            self.gain = FLOAT16_GAIN / largest

    def add(self, by_logits: list[Tensor], x: Tensor, rows: slice, first: bool, last: bool) -> None:
        """Add those of a chunk.

        Args:
            by_logits: the gradient of the logits of each block, (n, W); the list is emptied.
            x: (n, C) features as factors of products.
            rows: indices of the chunk.
            first, last: no chunk precedes, none follows.
        """
        table = self.table
        summed = torch.zeros_like(x, dtype=table.full)  # gradient of scale * x, (n, C)
        # of a normalized row, the component along the row is subtracted: what is left would lose precision in bfloat16
        factors = x.to(table.gradient_factor if table.inverse is None else table.factor)
        for block in table.blocks:
            g = by_logits.pop(0)
            if self.bias is not None:
                self.bias[block] += g.sum(0)[: len(self.bias[block])]
            if table.inverse is not None:
                g *= table.inverse[block]
            g = (g if table.factor != torch.float16 else g.mul_(self.gain)).to(factors.dtype)
            if self.features is not None or self.scale is not None:
                add_product(summed, g.to(table.gradient_factor), table.rows(block).to(table.gradient_factor))
            if self.weight is not None:
                by_row = self.weight[block]  # (W, C)
                if first:
                    product(g.t(), factors, table.full, out=by_row)
                else:
                    add_product(by_row, g.t(), factors)
                if last:
                    table.to_gradient(by_row if table.factor != torch.float16 else by_row.div_(self.gain), block)
        summed = summed if table.factor != torch.float16 else summed.div_(self.gain)
        if self.scale is not None:
            self.scale += (summed * x).sum()
        if self.weight is not None and last:
            self.weight.resize_(table.weight.shape)  # without padding; to a view, autograd could not add in place
        if self.features is not None:
            self.features[rows] = summed if table.scale is None else summed.mul_(table.scale)


def words_of_block(predictions: int) -> int:
    """Return W for chunks of n predictions on a CPU."""
    return min(MOST_WORDS, max(LEAST_WORDS, LOGITS // max(1, predictions)))


def in_one_block(device: torch.device) -> bool:
    """Return whether all words are computed at once: where no cache is large enough for a block."""
    return device.type != "cpu"
