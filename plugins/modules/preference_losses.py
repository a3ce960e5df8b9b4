"""Losses of reward models: comparisons of pairs, ties, lists of graded texts.

Scores are (B,): one number per text. A second dimension is an error, not a broadcast: margins (B,) against scores
(B, 1) would silently make (B, B).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bradley_terry(
    chosen: Tensor,
    rejected: Tensor,
    margin: Tensor | float = 0.0,
    *,
    centering: float = 0.0,
    smoothing: float = 0.0,
    flip: Tensor | float = 0.0,
    weights: Tensor | None = None,
    reduce: bool = True,
) -> Tensor:
    """-log sigmoid(chosen - rejected - margin) (Bradley and Terry, 1952; margin: Touvron et al., 2023, section 3.2.2).

    Args:
        chosen, rejected: (B,) scores.
        margin: a number or (B,), by which the difference must exceed zero.
        centering: weight of the mean of (chosen + rejected)^2, which gives scores a zero (Eisenstein et al., 2023).
        smoothing: e of (1 - e) * loss(d) + e * loss(-d): shrinks scores.
        flip: e of -log((1 - e) sigmoid(d) + e sigmoid(-d)): the share of labels assumed reversed, a number or a scalar
            tensor that is learned. Does not shrink scores.
        weights: (B,) of the pairs.
        reduce: return the (weighted) mean rather than (B,).

    Raises:
        ValueError: shapes are not (B,), or both smoothing and flip are given.
    """
    _check_shapes(chosen=chosen, rejected=rejected, margin=margin, weights=weights)
    d = chosen - rejected - margin
    if isinstance(flip, Tensor) or flip:
        if smoothing:
            raise ValueError("smoothing and flip correct for the same noise in two ways: choose one")
        loss = flip_corrected(d, flip)
    else:
        loss = (1 - smoothing) * F.softplus(-d) + smoothing * F.softplus(d)
    if centering:
        loss = loss + centering * (chosen + rejected) ** 2
    return weighted_mean(loss, weights) if reduce else loss


def flip_corrected(d: Tensor, flip: Tensor | float) -> Tensor:
    """Return -log((1 - e) sigmoid(d) + e sigmoid(-d)) for differences (B,) and a share e of reversed labels."""
    e = torch.as_tensor(flip, dtype=d.dtype, device=d.device)
    return -torch.logaddexp(torch.log1p(-e) + F.logsigmoid(d), e.log() + F.logsigmoid(-d))


def davidson(a: Tensor, b: Tensor, outcome: Tensor, nu: Tensor | float = 0.5, weights: Tensor | None = None) -> Tensor:
    """Mean -log P(outcome) of the model with ties (Davidson, 1970, eq. 2.5).

    Args:
        a, b: (B,) scores, logarithms of the strengths.
        outcome: (B,) of 0 (a wins), 1 (b wins), 2 (tie).
        nu: how common ties are, at least 0.
    """
    _check_shapes(a=a, b=b, outcome=outcome, weights=weights)
    return weighted_mean(F.nll_loss(davidson_log_probabilities(a, b, nu), outcome, reduction="none"), weights)


def davidson_log_probabilities(a: Tensor, b: Tensor, nu: Tensor | float = 0.5) -> Tensor:
    """Return log P of (a wins, b wins, tie), (B, 3); see :func:`davidson`."""
    nu = torch.as_tensor(nu, dtype=a.dtype, device=a.device)
    return torch.stack([a, b, nu.log() + (a + b) / 2], -1).log_softmax(-1)


def pointwise(scores: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error of scores (B,) against ratings (B,)."""
    _check_shapes(scores=scores, targets=targets, weights=weights)
    return weighted_mean((scores - targets.to(scores.dtype)) ** 2, weights)


def ordinal(scores: Tensor, grades: Tensor, cuts: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean -log P(grade) with P(grade > k) = sigmoid(score - cut_k) (McCullagh, 1980, cumulative logits).

    Args:
        scores: (B,).
        grades: (B,) of 0 to K - 1.
        cuts: (K - 1,), increasing.
    """
    _check_shapes(scores=scores, grades=grades, weights=weights)
    above = F.pad(torch.sigmoid(scores[:, None] - cuts), (1, 0), value=1.0)  # (B, K): P(grade >= k)
    p = above - F.pad(above[:, 1:], (0, 1))
    tiny = torch.finfo(p.dtype).tiny
    return weighted_mean(-p.gather(1, grades[:, None])[:, 0].clamp_min(tiny).log(), weights)


# Lists: the texts of one group


def listnet(scores: Tensor, gains: Tensor) -> Tensor:
    """Cross-entropy of softmax(scores) against softmax(gains), for the texts (N,) of one list (Cao et al., 2007)."""
    _check_shapes(scores=scores, gains=gains)
    return -(gains.to(scores.dtype).softmax(0) * scores.log_softmax(0)).sum()


def listmle(scores: Tensor, gains: Tensor) -> Tensor:
    """-log P(order of the gains) under Plackett-Luce, for the texts (N,) of one list (Xia et al., 2008, eq. 8)."""
    _check_shapes(scores=scores, gains=gains)
    ordered = scores[gains.argsort(descending=True, stable=True)]
    return (ordered.flip(0).logcumsumexp(0).flip(0) - ordered).sum()


def ranknet(scores: Tensor, gains: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean softplus(s_j - s_i) over the pairs with gain_i > gain_j of one list (Burges et al., 2005).

    Args:
        scores, gains: (N,).
        weights: (N, N) of the pairs.
    """
    _check_shapes(scores=scores, gains=gains)
    better = gains[:, None] > gains[None, :]
    if not better.any():
        return scores.sum() * 0
    terms = F.softplus(scores[None, :] - scores[:, None])
    return weighted_mean(terms[better], None if weights is None else weights[better])


def lambdarank(scores: Tensor, gains: Tensor) -> Tensor:
    """:func:`ranknet`, each pair weighted by how much swapping it changes nDCG, not averaged (Burges, 2010, section 4).

    Args:
        scores, gains: (N,), gains at least 0; the gain in DCG is 2^gain - 1.
    """
    _check_shapes(scores=scores, gains=gains)
    better = gains[:, None] > gains[None, :]
    if not better.any():
        return scores.sum() * 0
    with torch.no_grad():
        gains = gains.to(scores.dtype)
        # (2^gain - 1) / 2^max: the ratio below does not change, and no gain overflows
        worth = -torch.expm1(-gains * math.log(2)) * 2 ** (gains - gains.max())
        discount = 1 / torch.log2(2 + torch.arange(len(scores), dtype=scores.dtype, device=scores.device))
        ideal = (worth.sort(descending=True).values * discount).sum()
        own = discount[scores.argsort(descending=True, stable=True).argsort()]
        change = ((worth[:, None] - worth) * (own[:, None] - own)).abs() / ideal  # (N, N)
    return (change * F.softplus(scores[None, :] - scores[:, None]))[better].sum()


def weighted_mean(loss: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of losses (B,), weighted by (B,) if given."""
    return loss.mean() if weights is None else (loss * weights).sum() / weights.sum()


def _check_shapes(**given) -> None:
    """Raise ValueError unless every tensor is (B,) with one B; numbers pass."""
    shapes = {name: tuple(x.shape) for name, x in given.items() if isinstance(x, Tensor) and x.dim()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        named = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"all must have the shape (B,), one score per text: {named}")
