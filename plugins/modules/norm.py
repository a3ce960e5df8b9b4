"""L2 norms that survive zero rows and half precision."""

import torch
import torch.nn.functional as F
from torch import Tensor


def norm_floor(dtype: torch.dtype) -> float:
    """The shortest norm that is divided by: its inverse must exist in half precision."""
    return 1e-4 if dtype == torch.float16 else 1e-6


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def l2_normalize(x: Tensor) -> Tensor:
    """Divide the last dimension by its L2 norm, taken in float32; a zero vector stays zero in every precision."""
    return F.normalize(x.to(at_least_float32(x.dtype)), dim=-1, eps=norm_floor(x.dtype)).to(x.dtype)


def inverse_norm(rows: Tensor) -> Tensor:
    """Return 1 / norm of each row of (V, C), in at least float32: (V,). It is 0 for a row shorter than the floor."""
    norm = torch.linalg.vector_norm(rows, dim=-1, dtype=at_least_float32(rows.dtype))
    floor = norm_floor(rows.dtype)
    return norm.clamp_min(floor).reciprocal() * (norm >= floor)
