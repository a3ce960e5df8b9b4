"""Matrix products: the library that computes them on a CPU, and the types of their factors and results."""

import contextlib
import functools
import threading
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from .norm import at_least_float32

LEAST_WORK = 1 << 21  # multiplications; below this MKL's products are as fast as oneDNN's, or faster


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


def gradient_factor(device: torch.device, types: tuple[torch.dtype, torch.dtype, torch.dtype]) -> torch.dtype:
    """Return the type in which factors are passed to products that are gradients, which may be rounded themselves.

    With AVX512-BF16 and without AMX, products of bfloat16 take half the time of float32's, but return bfloat16.
    """
    if rounds(device, types) or types[0] != torch.bfloat16 or not torch.cpu.get_capabilities().get("avx512_bf16"):
        return types[1]
    return types[0]


@functools.cache
def onednn_is_faster() -> bool:
    """Return whether oneDNN's float32 products, which round nothing here, are faster than MKL's.

    That is so on AMD's CPUs with AVX512: MKL takes its kernels for AVX2 there, oneDNN those for AVX512.
    """
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        return False
    found = torch.cpu.get_capabilities()
    amd = str(found.get("cpu_name", "")).startswith("AMD")
    return amd and bool(found.get("avx512_f")) and not found.get("amx_bf16")


class _Permission:
    """Lets oneDNN compute float32 products. The option of torch is that of all threads, so the last one restores it.

    Meanwhile ``torch.get_float32_matmul_precision()`` raises an error, since options of torch contradict each other.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.before = threading.Lock(), 0, "none"
        self.options: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]

    def __enter__(self) -> None:
        with self.lock:
            if not self.users:
                self.before = self.options.fp32_precision
                self.options.fp32_precision = "bf16"  # permits rounding, which is done with AMX only: see rounds()
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                self.options.fp32_precision = self.before


_permission = _Permission()


def cpu_products(device: torch.device, rounded: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Choose the library of a CPU's float32 products: oneDNN where it may round factors, or is faster without rounding.

    Args:
        device: the device of the factors; only a CPU has a choice.
        rounded: the type that factors may be rounded to, the first that :func:`types_of` returns.
    """
    if device.type != "cpu":
        return contextlib.nullcontext()
    faster = rounded == torch.float32 and not torch.compiler.is_compiling() and onednn_is_faster()
    return _permission if rounded == torch.bfloat16 or faster else contextlib.nullcontext()


def in_float32(*factors: Tensor) -> bool:
    """Return whether the products of these tensors are computed in float32 on a CPU."""
    alike = all(factor.dtype == torch.float32 and factor.device.type == "cpu" for factor in factors)
    return alike and not torch.is_autocast_enabled("cpu")


def has_choice(*factors: Tensor) -> bool:
    """Return whether :func:`cpu_products` makes products of these tensors faster, and Python may compute them."""
    return not transformed() and onednn_is_faster() and in_float32(*factors)


def transformed() -> bool:
    """Return whether calls are compiled, traced, or transformed by ``torch.func``, which takes torch's own products."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or forward_ad._current_level >= 0:
        return True
    return torch._C._are_functorch_transforms_active()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``F.linear(x, weight, bias)``: its products, and those of its gradients, are the CPU's fastest.

    Args:
        x: (..., C).
        weight: (V, C).
        bias: (V,), or None.

    Returns:
        (..., V).
    """
    if not suits_onednn(x, weight):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        with _permission:
            return F.linear(x, weight, bias)
    return cast(Tensor, _Linear.apply(x, weight, bias))


def suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN's product of rows (..., C) and a weight (V, C) is faster than MKL's."""
    return has_choice(x, weight) and x.numel() > x.size(-1) and x.numel() * len(weight) >= LEAST_WORK


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of tensors (..., N, C) and (..., C, M): its products, and those of its gradients, as above."""
    return cast(Tensor, _Matmul.apply(a, b)) if has_choice(a, b) else a @ b


class _Linear(torch.autograd.Function):
    """See :func:`linear`."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        by_x, by_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        ctx.shape = x.shape
        with _permission:
            return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.size(-1))  # (N, V)
        with _permission:
            return (
                (rows @ weight).view(ctx.shape) if by_x else None,
                rows.t() @ x.reshape(-1, x.size(-1)) if by_weight else None,
                rows.sum(0) if by_bias else None,
            )


class _Matmul(torch.autograd.Function):
    """See :func:`matmul`."""

    @staticmethod
    def forward(ctx, a, b):
        by_a, by_b = ctx.needs_input_grad
        ctx.save_for_backward(a if by_b else None, b if by_a else None)
        with _permission:
            return a @ b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        by_a, by_b = ctx.needs_input_grad
        with _permission:
            return grad @ b.mT if by_a else None, a.mT @ grad if by_b else None


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
