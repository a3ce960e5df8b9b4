"""Matrix products of features and a table, and the types of their factors and results."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .norm import at_least_float32


def types_of(x: Tensor, weight: Tensor) -> tuple[torch.dtype, torch.dtype, torch.dtype]:
    """Return the type that factors of products are rounded to, the type that they are passed in, and that of results.

    A CPU's products return the type of their factors, so these are float32, and the product rounds them itself, or not:
    see :func:`rounds`.
    """
    rounded, device = torch.promote_types(x.dtype, weight.dtype), x.device.type
    full = at_least_float32(rounded)
    if full == torch.float32 and torch.is_autocast_enabled(device):
        rounded = torch.get_autocast_dtype(device)
    return rounded, full if device == "cpu" else rounded, full


def rounds(device: torch.device, types: tuple[torch.dtype, torch.dtype, torch.dtype]) -> bool:
    """Return whether products round their factors to the first of the types that :func:`types_of` returns.

    The CPU's library, oneDNN, rounds float32 factors to bfloat16 if the CPU has AMX; otherwise, also with AVX512-BF16,
    it computes in float32.
    """
    if device.type != "cpu" or types[0] == types[1]:
        return True
    return types[0] == torch.bfloat16 and bool(torch.cpu.get_capabilities().get("amx_bf16"))


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
    """Return the matrix product of a and b in another type, written to ``out``.

    Args:
        a, b: matrices of the type that :func:`types_of` names second.
        dtype: data type of the result.
        out: where to write it; None for a new tensor.
    """
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
