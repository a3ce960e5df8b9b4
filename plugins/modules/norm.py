"""Layer norm under autocast, and L2 norms that are safe for zero rows and in half precision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """:class:`torch.nn.LayerNorm` whose output has the type of autocast where it is on, as the layers after it need.

    Otherwise each linear layer that reads it converts it once more, and its gradient back. Mean and variance are
    float32 at least.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return to_autocast(super().forward(x))


def to_autocast(x: Tensor) -> Tensor:
    """Return x in the type of autocast, where it is on."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


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
