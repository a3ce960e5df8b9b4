"""Labels of several annotators per row: majority, label distributions, and the model of Dawid and Skene.

Dawid and Skene, 1979, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm" (Applied
Statistics 28): each annotator has a confusion matrix, and answers independently of the others given the true class.

Shapes: v votes, n rows, A annotators, K classes. A vote is a row, an annotator and a class; a row may have any number
of votes, also several of one annotator.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from plugins.errors import check

NEVER = -1e300  # logarithm of a probability of 0, finite because 0 votes times its logarithm must be 0


def vote_counts(
    rows: np.ndarray, annotators: np.ndarray, classes: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return how often each annotator gave each row each class, (n, A, K) float64, dense.

    Args:
        rows, annotators, classes: (v,) ids of each vote.
        shape: n, A and K.

    Raises:
        UserError: lengths differ, an id is out of range or not whole, or a row has no vote.
    """
    columns = [np.asarray(column) for column in (rows, annotators, classes)]
    same = all(column.ndim == 1 and column.shape == columns[0].shape for column in columns)
    check(same, "votes: one row, annotator and class each are expected, but the numbers of them differ")
    for name, column, size in zip(("row", "annotator", "class"), columns, shape, strict=True):
        good = np.issubdtype(column.dtype, np.integer) and ((column >= 0) & (column < size)).all()
        check(good, f"votes: an id of a {name} is not a whole number from 0 to {size - 1}")
    counts = np.zeros(shape)
    np.add.at(counts, tuple(columns), 1)
    empty = np.flatnonzero(counts.sum((1, 2)) == 0)
    check(not len(empty), f"votes: row {empty[:1].tolist()} has none")
    return counts


def distribution(counts: np.ndarray) -> np.ndarray:
    """Return the share of each class among the votes for each row, (n, K), of counts (n, A, K).

    :func:`plugins.diagnostics.usable_information.expected_pvi` takes it.
    """
    votes = np.asarray(counts, np.float64).sum(1)
    return votes / votes.sum(1, keepdims=True)


def majority(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most frequent class of each row, (n,), and whether another one is as frequent, (n,) bool.

    Of several the one with the lowest id is returned.

    Args:
        counts: (n, A, K).
    """
    votes = np.asarray(counts).sum(1)
    return votes.argmax(1), (votes == votes.max(1, keepdims=True)).sum(1) > 1


@dataclass(frozen=True)
class DawidSkene:
    """Maximum-likelihood estimates.

    Attributes:
        posterior: probability of each true class, (n, K).
        prior: shares of the true classes, (K,).
        confusion: (A, K, K), for each annotator the probability of an answer (last axis) given the true class; NaN
            for a class of which the annotator judged no row.
        log_likelihood: of the votes, in nats.
        iterations: how many were made.
    """

    posterior: np.ndarray
    prior: np.ndarray
    confusion: np.ndarray
    log_likelihood: float
    iterations: int


def dawid_skene(counts: np.ndarray, iterations: int = 100, tolerance: float = 1e-8) -> DawidSkene:
    """Estimate true classes and the annotators' error rates by expectation maximization (section 3 of the paper).

    It starts with the shares of the votes, as the paper does, and finds a local maximum of the likelihood. Where most
    annotators are wrong, classes may be exchanged.

    Args:
        counts: (n, A, K), see :func:`vote_counts`.
        iterations: at most this many.
        tolerance: stop when the log-likelihood grows by less than this share of its size.

    Raises:
        UserError: another shape, a row without votes, or fewer than one iteration.
    """
    counts = np.asarray(counts, np.float64)
    check(counts.ndim == 3 and counts.size > 0, f"counts: (n, A, K) are expected, not the shape {counts.shape}")
    good = np.isfinite(counts).all() and (counts >= 0).all() and (counts.sum((1, 2)) > 0).all()
    check(good, "counts: a row has no votes, or a count is negative, NaN or infinite")
    check(iterations >= 1, f"iterations={iterations}: at least 1 is needed")
    posterior, before, made = distribution(counts), -np.inf, 0
    for _ in range(iterations):
        made += 1
        prior = posterior.mean(0)  # (K,), M step
        confusion = np.einsum("nj,nak->ajk", posterior, counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            confusion = confusion / confusion.sum(-1, keepdims=True)
            logs = np.log(confusion)
            joint = np.maximum(np.log(prior), NEVER)  # (K,)
        logs = np.where(np.isnan(logs), 0.0, np.maximum(logs, NEVER))  # NaN: a class that the annotator never met
        joint = joint + np.einsum("nak,ajk->nj", counts, logs)  # (n, K), E step
        total = logsumexp(joint, axis=1)
        posterior = np.exp(joint - total[:, None])
        likelihood = float(total.sum())
        if likelihood - before <= tolerance * abs(likelihood):
            break
        before = likelihood
    return DawidSkene(posterior, prior, confusion, likelihood, made)
