"""Positives and negatives of the rows of a batch, from their class labels."""

import math

import torch
from torch import Tensor


def masks(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return positives (B, B), negatives (B, B) and valid anchors (B,), all boolean, for class labels (B,)."""
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return positive, ~same, positive.any(1) & (~same).any(1)


def partners(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row numbers of the valid anchors, of a positive and of a negative of each: three (A,) of int64.

    The positive and the negative are the next such rows of the batch, cyclically. This converts rows with class labels
    (B,) to the pairs and triplets that other losses take.
    """
    positive, negative, valid = masks(labels)
    rows = torch.arange(len(labels), device=labels.device)
    ahead = (rows[None, :] - rows[:, None]) % len(labels)  # (B, B): rows from i to j
    near, far = (ahead.masked_fill(~mask, len(labels)).argmin(1)[valid] for mask in (positive, negative))
    return rows[valid], near, far


def count_active(d: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return for each positive and each negative of each anchor the number of active triplets: two (B, B) of int64.

    Args:
        d: (B, B) distances.
        positive, negative: (B, B) boolean, see :func:`masks`.
        margin: a triplet is active if its negative is not farther than its positive by the margin.
    """
    bound = (d + margin).masked_fill(~positive, -math.inf)  # a negative nearer than this is active
    nearer = torch.searchsorted(d.masked_fill(~negative, math.inf).sort(1).values, bound)
    farther = d.size(1) - torch.searchsorted(bound.sort(1).values, d, right=True)
    return nearer * positive, farther * negative
