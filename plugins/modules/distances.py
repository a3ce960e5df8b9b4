"""Distances and similarities of embeddings, with finite gradients where rows are equal or zero."""

import torch
from torch import Tensor

DISTANCES = ("euclidean", "cosine")
EXACT_ROWS = 4096  # up to here distances are computed from differences, which do not cancel for near rows


def normalize(x: Tensor) -> Tensor:
    """Scale rows (..., d) to unit length; a zero row stays zero and passes its gradient on unscaled."""
    norm = x.norm(dim=-1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))


def pairwise(x: Tensor, y: Tensor, distance: str = "euclidean") -> Tensor:
    """Return the distances (N, M) between all rows of two matrices.

    Args:
        x: (N, d).
        y: (M, d).
        distance: ``euclidean``, or ``cosine``: one minus the cosine similarity.

    Raises:
        ValueError: unknown distance.
    """
    x, y = upcast(x), upcast(y)
    if check(distance) == "cosine":
        return 1 - cosine_similarities(x, y)
    exact = max(len(x), len(y)) <= EXACT_ROWS
    mode = "donot_use_mm_for_euclid_dist" if exact else "use_mm_for_euclid_dist"
    return torch.cdist(x, y, compute_mode=mode)  # its gradient is zero where rows are equal


def rowwise(x: Tensor, y: Tensor, distance: str = "euclidean") -> Tensor:
    """Return the distances (N,) between corresponding rows of two (N, d) matrices; see :func:`pairwise`.

    Raises:
        ValueError: the distance is unknown.
    """
    x, y = upcast(x), upcast(y)
    if check(distance) == "cosine":
        return 1 - (normalize(x) * normalize(y)).sum(-1)
    return (x - y).norm(dim=-1)  # its gradient is zero where rows are equal


def cosine_similarities(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine similarities (N, M) of all rows of (N, d) and (M, d); zero for a zero row."""
    return normalize(upcast(x)) @ normalize(upcast(y)).T


def upcast(x: Tensor) -> Tensor:
    """Return half-precision tensors as float32: differences of near rows need the digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check(distance: str) -> str:
    """Return the name of a distance.

    Raises:
        ValueError: it is not in :data:`DISTANCES`.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance {distance!r} is not one of {', '.join(DISTANCES)}")
    return distance
