"""Linear layers for CPUs, where the library of a product, and the cores that it uses, determine its speed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norm import at_least_float32
from .products import linear, suits_onednn

MOST_ROWS = 16  # with more rows, F.linear is as fast
LEAST_WEIGHTS = 1 << 16  # per core; with fewer, splitting costs more than it saves
STREAMS = 4  # places of a large weight that are read at once, so that a core waits less for memory
LARGE = 1 << 20  # weights; smaller ones are more often in a cache, and more loops take longer to compile


class Linear(nn.Linear):
    """:class:`torch.nn.Linear` whose products are those of the faster library (:func:`.products.cpu_products`)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return linear(x, self.weight, self.bias)


class DecodingLinear(Linear):
    """A linear layer that uses all cores of a CPU for few input rows, as in generation, where each step has one token.

    Reading the weights takes most of the time of such a product, and MKL reads them with one core. A batch of smaller
    products uses all cores, as does oneDNN. The results are equal up to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if torch.is_grad_enabled() or x.numel() > MOST_ROWS * self.in_features:
            return super().forward(x)
        return product_of_few_rows(x, self.weight, self.bias)


def product_of_few_rows(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return :func:`.products.linear` of few rows, by one product per core if that is faster, or compiled as sums."""
    if torch.compiler.is_compiling():
        return sums_of_products(x, weight, bias)
    if suits_onednn(x, weight):
        return linear(x, weight, bias)
    parts = min(torch.get_num_threads(), weight.numel() // LEAST_WEIGHTS)
    if parts < 2 or weight.device.type != "cpu" or not x.dtype == weight.dtype == torch.float32:
        return F.linear(x, weight, bias)
    size, rest = divmod(len(weight), parts)
    shared = weight[: size * parts] if rest else weight
    rows = x.reshape(1, -1, x.size(-1))  # (1, N, C)
    y = torch.bmm(rows.expand(parts, -1, -1), shared.view(parts, size, -1).mT)  # (parts, N, V / parts)
    y = (y if y.size(1) == 1 else y.transpose(0, 1)).reshape(*x.shape[:-1], -1)
    if rest:
        y = torch.cat([y, F.linear(x, weight[size * parts :])], dim=-1)
    return y if bias is None else y + bias


def sums_of_products(x: Tensor, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """Return ``F.linear(x, weight, bias)`` as sums over products, in float32 at least.

    Inductor compiles them to one loop that reads each weight once for all rows, at the rate of the memory.

    Args:
        x: (..., C), few rows.
        weight: (V, C), of any type.
        bias: (V,), or None.
        scale: (V,), by which the rows of the weight are multiplied; None for 1.

    Returns:
        (..., V).
    """
    dtype = at_least_float32(x.dtype)
    rows = x.reshape(-1, x.size(-1)).to(dtype)  # (N, C)
    rows = rows.as_strided(rows.size(), rows.stride())  # stored, else computed again for each row of the weight
    streams = STREAMS if len(rows) == 1 and weight.numel() >= LARGE else 1
    parts = weight.tensor_split(streams)
    y = torch.cat([torch.stack([(part.to(dtype) * row).sum(-1) for row in rows.unbind()]) for part in parts], dim=-1)
    y = y if scale is None else y * scale
    y = y if bias is None else y + bias
    return y.to(x.dtype).view(*x.shape[:-1], -1)
