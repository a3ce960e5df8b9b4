"""Losses on embeddings: triplets within a batch, labeled pairs, ranking, distillation.

Each function returns ``(loss, count)``: a scalar in the dtype of its input, and the number of terms it averages
(anchors, pairs or triplets). An anchor is valid if the batch has another row of its class and a row of another class;
invalid anchors are masked (:mod:`plugins.modules.mining`). A batch without a valid anchor returns ``(0, 0)`` with a
zero gradient; sentence-transformers returns the margin (for ``batch_semi_hard``, a gradient without any triplet).
Defaults are those of sentence-transformers 6.2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .distances import cosine_similarities, pairwise, rowwise, upcast
from .mining import count_active, masks

Loss = tuple[Tensor, int]


def average(terms: Tensor, like: Tensor) -> Loss:
    """Return the mean of terms (N,) and N; without terms, a zero that keeps the graphs of both arguments."""
    if not terms.numel():  # distributed workers wait for the gradients of all parameters, a classifier's included
        return like.sum() * 0 + terms.sum().to(like.dtype), 0
    return terms.mean().to(like.dtype), terms.numel()


# Triplets within a batch


def batch_all(embeddings: Tensor, labels: Tensor, margin: float = 5.0, distance: str = "euclidean") -> Loss:
    """Mean of [d(a, p) - d(a, n) + margin]+ over the triplets where it is positive (Hermans et al., 2017, eq. 7).

    The triplet sum is linear in the distances, and each distance is weighted by the number of active triplets that it
    takes part in. Counting by sorting needs O(B^2) memory in place of B^3.

    Args:
        embeddings: (B, d).
        labels: (B,).

    Returns:
        The loss, and the number of active triplets.
    """
    d = pairwise(embeddings, embeddings, distance)
    positive, negative, _ = masks(labels)
    by_positive, by_negative = count_active(d.detach(), positive, negative, margin)
    count = int(by_positive.sum())
    if not count:
        return embeddings.sum() * 0, 0
    total = (d * (by_positive - by_negative).to(d.dtype)).sum() + margin * count
    return (total / count).to(embeddings.dtype), count


def batch_hard(embeddings: Tensor, labels: Tensor, margin: float = 5.0, distance: str = "euclidean") -> Loss:
    """Mean over anchors of [max_p d(a, p) - min_n d(a, n) + margin]+ (Hermans et al., 2017, eq. 5).

    Args:
        embeddings: (B, d).
        labels: (B,).

    Returns:
        The loss, and the number of anchors with a positive and a negative.
    """
    return average((_hardest_gap(embeddings, labels, distance) + margin).relu(), embeddings)


def batch_hard_soft_margin(embeddings: Tensor, labels: Tensor, distance: str = "euclidean") -> Loss:
    """Mean over anchors of softplus(max_p d(a, p) - min_n d(a, n)): :func:`batch_hard` without a margin to choose."""
    return average(F.softplus(_hardest_gap(embeddings, labels, distance)), embeddings)


def _hardest_gap(embeddings: Tensor, labels: Tensor, distance: str) -> Tensor:
    """Return the farthest positive minus the nearest negative of each valid anchor, (A,)."""
    d = pairwise(embeddings, embeddings, distance)
    positive, negative, valid = masks(labels)
    if not valid.any():
        return d.new_zeros(0)
    farthest = d.masked_fill(~positive, -math.inf)[valid].amax(1)
    return farthest - d.masked_fill(~negative, math.inf)[valid].amin(1)


def batch_semi_hard(embeddings: Tensor, labels: Tensor, margin: float = 5.0, distance: str = "euclidean") -> Loss:
    """Mean over pairs (a, p) of [d(a, p) - d(a, n) + margin]+ (Schroff et al., 2015, FaceNet, section 3.2).

    n is the nearest negative that is farther from the anchor than p, else the farthest negative.

    Args:
        embeddings: (B, d).
        labels: (B,).

    Returns:
        The loss, and the number of pairs whose anchor has a negative.
    """
    d = pairwise(embeddings, embeddings, distance)
    positive, negative, valid = masks(labels)
    with torch.no_grad():
        order = d.masked_fill(~negative, math.inf).sort(1)  # negatives first, near to far
        place = torch.searchsorted(order.values, d.contiguous(), right=True)  # (B, B): the first one farther than p
        last = negative.sum(1, keepdim=True) - 1
        chosen = order.indices.gather(1, torch.minimum(place, last).clamp_min(0))
    gap = d - d.gather(1, chosen)
    return average((gap + margin).relu()[positive & valid[:, None]], embeddings)


def supervised_contrastive(embeddings: Tensor, labels: Tensor, scale: float = 10.0) -> Loss:
    """Mean over anchors of -1/|P| sum_p log softmax(scale * cos)[p], over all other rows (Khosla et al., 2020, eq. 2).

    Args:
        embeddings: (B, d).
        labels: (B,).
        scale: one over the temperature.

    Returns:
        The loss, and the number of anchors with a positive and a negative.
    """
    positive, _, valid = masks(labels)
    scores = scale * cosine_similarities(embeddings, embeddings)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_p = scores.masked_fill(itself, -math.inf).log_softmax(1).masked_fill(~positive, 0)
    return average(-(log_p.sum(1) / positive.sum(1).clamp_min(1))[valid], embeddings)


# Pairs with a label or a score


def contrastive(a: Tensor, b: Tensor, labels: Tensor, margin: float = 0.5, distance: str = "cosine") -> Loss:
    """Mean of 1/2 (y d^2 + (1 - y) [margin - d]+^2) (Hadsell et al., 2006, eq. 4).

    Args:
        a, b: (B, d).
        labels: (B,), 1 for similar pairs and 0 for dissimilar ones.
    """
    d = rowwise(a, b, distance)
    y = labels.to(d.dtype)
    return average(0.5 * (y * d**2 + (1 - y) * (margin - d).relu() ** 2), a)


def online_contrastive(a: Tensor, b: Tensor, labels: Tensor, margin: float = 0.5, distance: str = "cosine") -> Loss:
    """**Sum** of :func:`contrastive` terms, without the 1/2, over only the hard pairs of a batch.

    A positive is hard if it is farther than the nearest negative, a negative if it is nearer than the farthest
    positive. If a batch has pairs of one kind only, all of them count.

    Args:
        a, b: (B, d).
        labels: (B,), 1 for similar pairs and 0 for dissimilar ones.

    Returns:
        The loss, and the number of hard pairs.
    """
    d = rowwise(a, b, distance)
    similar = labels.bool()
    positives, negatives = d[similar], d[~similar]
    if len(positives) and len(negatives):
        nearest, farthest = negatives.min(), positives.max()
        # A distance that is not a number is kept, so that the loss shows it.
        positives, negatives = positives[~(positives <= nearest)], negatives[~(negatives >= farthest)]
    loss = (positives**2).sum() + ((margin - negatives).relu() ** 2).sum()
    return loss.to(a.dtype), len(positives) + len(negatives)


def softmax_pairs(u: Tensor, v: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None = None) -> Loss:
    """Cross-entropy of W [u; v; |u - v|] (Reimers and Gurevych, 2019, section 3).

    Args:
        u, v: (B, d).
        labels: (B,) class ids below K.
        weight: (K, 3d), of any type.
        bias: (K,).
    """
    features = pair_features(u, v)
    dtype = features.dtype  # that of the weights may be half precision (--bf16)
    logits = F.linear(features, weight.to(dtype), bias if bias is None else bias.to(dtype))  # (B, K)
    return average(F.cross_entropy(upcast(logits), labels, reduction="none"), u)


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    """Return [u; v; |u - v|], (B, 3d), for embeddings (B, d)."""
    return torch.cat([u, v, (u - v).abs()], -1)


def cosine_similarity(a: Tensor, b: Tensor, scores: Tensor) -> Loss:
    """Mean squared error of the cosine of pairs (B, d) against scores (B,) in [-1, 1]."""
    cos = 1 - rowwise(a, b, "cosine")
    return average((cos - scores.to(cos.dtype)) ** 2, a)


def cosent(a: Tensor, b: Tensor, scores: Tensor, scale: float = 20.0) -> Loss:
    """log(1 + sum exp(scale (cos_j - cos_i))) over the pairs of pairs with score_i > score_j (Su, 2022, CoSENT).

    Args:
        a, b: (B, d).
        scores: (B,), of which only the order counts.

    Returns:
        The loss, and the number of pairs ordered by their scores.
    """
    cos = scale * (1 - rowwise(a, b, "cosine"))
    ordered = scores[:, None] > scores[None, :]  # (B, B): i above j
    gaps = (cos[None, :] - cos[:, None])[ordered]
    if not gaps.numel():
        return a.sum() * 0, 0
    return F.pad(gaps, (1, 0)).logsumexp(0).to(a.dtype), gaps.numel()


# Ranking


def multiple_negatives_ranking(
    a: Tensor,
    b: Tensor,
    scale: float = 20.0,
    negatives: Tensor | None = None,
    symmetric: bool = False,
    same: Tensor | None = None,
) -> Loss:
    """Mean cross-entropy of finding the partner of each row by scaled cosine (Henderson et al., 2017, section 4.4).

    Args:
        a, b: (B, d), anchors and their positives.
        negatives: (N, d), further candidates for every anchor.
        symmetric: average with the search from ``b`` among ``a``.
        same: (B, B + N) or (B, B) boolean, True for candidates that are right too (an equal text, an equal label);
            they are left out of the denominator.

    Returns:
        The loss, and the number of rows with at least one negative.
    """
    candidates = b if negatives is None else torch.cat([b, negatives])  # (M, d)
    scores = scale * cosine_similarities(a, candidates)
    loss, count = _diagonal_cross_entropy(scores, same, a)
    if symmetric:
        back = None if same is None else same[:, : len(a)].T
        backward, _ = _diagonal_cross_entropy(scores[:, : len(a)].T, back, a)
        loss = (loss + backward) / 2
    return loss, count


def _diagonal_cross_entropy(scores: Tensor, same: Tensor | None, like: Tensor) -> Loss:
    own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    negative = ~own
    if same is not None:
        negative &= ~F.pad(same, (0, scores.size(1) - same.size(1)))
        scores = scores.masked_fill(~negative & ~own, -math.inf)
    valid = negative.any(1)
    return average(-scores.log_softmax(1).diagonal()[valid], like)


def mega_batch_margin(a: Tensor, b: Tensor, positive: float = 0.8, negative: float = 0.3, slice: int = 50) -> Loss:
    """Mean of [positive - cos(a, p)]+ + [max cos(a, p_j) - negative]+ over pairs (Wieting and Gimpel, 2018, section 4).

    The hardest negative of each row is searched without gradient, ``slice`` rows at a time.

    Args:
        a, b: (B, d), anchors and their positives.
    """
    if len(a) < 2:
        return a.sum() * 0, 0
    with torch.no_grad():
        hardest = []
        for start in range(0, len(a), slice):
            scores = cosine_similarities(a[start : start + slice], b)
            scores.diagonal(start).fill_(-math.inf)
            hardest.append(scores.argmax(1))
    near = 1 - rowwise(a, b, "cosine")
    far = 1 - rowwise(a, b[torch.cat(hardest)], "cosine")
    return average((positive - near).relu() + (far - negative).relu(), a)


def triplet(a: Tensor, p: Tensor, n: Tensor, margin: float = 5.0, distance: str = "euclidean") -> Loss:
    """Mean of [d(a, p) - d(a, n) + margin]+ over rows of (B, d).

    Args:
        a, p, n: (B, d), anchors, positives and negatives.
        margin: the margin.
        distance: ``euclidean`` or ``cosine``.
    """
    return average((rowwise(a, p, distance) - rowwise(a, n, distance) + margin).relu(), a)


# Distillation


def mse(u: Tensor, v: Tensor) -> Loss:
    """Mean squared difference of embeddings u and targets v, both (B, d), over rows and dimensions."""
    return average(((upcast(u) - upcast(v)) ** 2).mean(1), u)


def margin_mse(a: Tensor, p: Tensor, n: Tensor, margins: Tensor) -> Loss:
    """Mean of (a.p - a.n - margin)^2 with a teacher's margins (B,) (Hofstätter et al., 2020, eq. 2).

    Args:
        a, p, n: (B, d), anchors, positives and negatives.
        margins: (B,).
    """
    gap = (upcast(a) * (upcast(p) - upcast(n))).sum(-1)
    return average((gap - margins.to(gap.dtype)) ** 2, a)
