"""Statistics of a batch of labeled embeddings: how well classes are separated, and whether the model has collapsed."""

import math

import torch
from torch import Tensor

from .distances import pairwise
from .mining import count_active, masks


@torch.no_grad()
def batch_statistics(
    embeddings: Tensor, labels: Tensor, margin: float = 0.0, distance: str = "euclidean"
) -> dict[str, float]:
    """Return the statistics of a batch.

    Args:
        embeddings: (B, d).
        labels: (B,).
        margin: margin of the loss.

    Returns:
        ``positive_distance`` and ``negative_distance``, means over pairs; ``violations``, the share of triplets whose
        negative is not farther than the positive by the margin; ``norm``, the mean length; ``effective_rank``, exp of
        the entropy of the normalized eigenvalues of the covariance: 1 when all vectors are on a line, NaN when a
        number is not finite.
    """
    d = pairwise(embeddings, embeddings, distance)
    positive, negative, _ = masks(labels)
    triplets = int((positive.sum(1) * negative.sum(1)).sum())
    active = int(count_active(d, positive, negative, margin)[0].sum())
    centered = embeddings.float() - embeddings.float().mean(0)
    finite = bool(centered.isfinite().all())  # svdvals raises an error for other numbers
    energy = torch.linalg.svdvals(centered) ** 2 if finite else centered.new_full((1,), math.nan)
    p = energy[~(energy <= 0)] / energy.sum()
    return {
        "positive_distance": float(d[positive].mean()) if positive.any() else 0.0,
        "negative_distance": float(d[negative].mean()) if negative.any() else 0.0,
        "violations": active / triplets if triplets else 0.0,
        "norm": float(embeddings.norm(dim=1).mean()),
        "effective_rank": float(torch.exp(-(p * p.log()).sum())) if len(p) else 0.0,
    }
