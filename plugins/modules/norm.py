"""L2 norms that are safe for zero rows and in half precision."""

import torch
import torch.nn.functional as F
from torch import Tensor


def norm_floor(dtype: torch.dtype) -> float:
    """Return the smallest norm to divide by; its inverse must be finite in the given precision."""
    return 1e-4 if dtype == torch.float16 else 1e-6


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for float64, else float32."""
    return torch.promote_types(dtype, torch.float32)


def l2_normalize(x: Tensor) -> Tensor:
    """Divide (..., C) by the L2 norm of its last dimension, computed in float32 at least. Zero vectors stay zero."""
    return F.normalize(x.to(at_least_float32(x.dtype)), dim=-1, eps=norm_floor(x.dtype)).to(x.dtype)


def inverse_norm(rows: Tensor) -> Tensor:
    """Return 1 / norm of each row of (V, C), in float32 at least: (V,). It is 0 for norms below :func:`norm_floor`."""
    norm = torch.linalg.vector_norm(rows, dim=-1, dtype=at_least_float32(rows.dtype))
    floor = norm_floor(rows.dtype)
    return norm.clamp_min(floor).reciprocal() * (norm >= floor)
