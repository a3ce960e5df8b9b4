"""Confident learning: which labels a model's out-of-sample probabilities contradict, and how noisy a data set is.

Northcutt, Jiang and Chuang, 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels" (arXiv 1911.00068),
with the conventions and results of cleanlab 2.9. A flag means that model and label disagree; a reader must decide
whether the label is wrong.

Shapes: n rows, K classes.
"""

import numpy as np
from scipy.special import xlogy

from plugins.errors import UserError, check

from .predictions import best_other, checked_labels, checked_probabilities, of_label

EPSILON = 1e-6  # probabilities that differ by less are treated as equal
NEVER = 2.0  # threshold of a class without labeled rows
TINY = 1e-100
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given",
           "low_self_confidence", "low_normalized_margin")  # fmt: skip


def checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Validate probabilities (n, K) and labels (n,); see :mod:`.predictions` for the errors."""
    probabilities = checked_probabilities(probabilities)
    return probabilities, checked_labels(labels, probabilities.shape[1], len(probabilities))


def thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean probability of each class among the rows labeled with it, (K,); 2 for a class without rows.

    Raises:
        UserError: shapes do not match, or values are not probabilities or class ids.
    """
    probabilities, labels = checked(probabilities, labels)
    classes = probabilities.shape[1]
    means = [probabilities[labels == k, k].mean() if (labels == k).any() else NEVER for k in range(classes)]
    return np.maximum(means, 2 * EPSILON)


def joint(probabilities: np.ndarray, labels: np.ndarray, calibrate: bool = False) -> np.ndarray:
    """Return the confident joint (K, K) int64: the number of rows by given label and confidently predicted class.

    A row is counted for the class whose threshold its probability reaches; if there are several, for the most probable
    one; if there is none, it is not counted. The diagonal is at least 1.

    Args:
        calibrate: scale each row of the matrix to the number of rows with that label; the entries then sum to n.
    """
    probabilities, labels = checked(probabilities, labels)
    counts, _ = _joint(probabilities, labels)
    return _calibrated(counts, labels) if calibrate else counts


def noise_matrices(counts: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the prior of the true labels (K,), P(given | true) and P(true | given), (K, K) each; columns sum to 1.

    Args:
        counts: (K, K) returned by :func:`joint`.
        labels: (n,) given class ids.
    """
    counts = np.asarray(counts, np.float64)
    given = np.bincount(labels, minlength=len(counts)) / len(labels)
    noise = counts / np.maximum(counts.sum(0), TINY)
    inverse = counts.T / np.maximum(counts.sum(1), TINY)
    prior = inverse.diagonal() / np.maximum(noise.diagonal(), TINY) * given
    prior = np.clip(prior, EPSILON, 1)
    return prior / prior.sum(), _as_rates(noise), _as_rates(inverse)


def noise_share(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of labels off the diagonal of the calibrated joint.

    It overestimates the noise if the model's errors concentrate on pairs of classes, which is usual on real data.
    """
    counts = joint(probabilities, labels, calibrate=True)
    return float(1 - counts.trace() / max(1, counts.sum()))


def issues(probabilities: np.ndarray, labels: np.ndarray, filter_by: str = "prune_by_noise_rate") -> np.ndarray:
    """Return the rows that a filter flags, (n,) bool.

    Args:
        filter_by: ``prune_by_noise_rate`` flags, for each off-diagonal entry of the joint, that many rows with the
            largest margin; ``prune_by_class`` the same number of rows of each label, those with the lowest
            probability; ``both`` the intersection of these two; ``confident_learning`` the rows off the diagonal of
            the joint; ``predicted_neq_given`` the rows with another most probable class; ``low_self_confidence`` and
            ``low_normalized_margin`` as many rows as ``confident_learning``, those with the lowest score.

    Raises:
        UserError: the filter is unknown, shapes do not match, or values are not probabilities or class ids.
    """
    check(filter_by in FILTERS, f"filter_by {filter_by!r}: the choices are {', '.join(FILTERS)}")
    probabilities, labels = checked(probabilities, labels)
    counts, off_diagonal = _joint(probabilities, labels)
    kept = _agrees(probabilities, labels)
    if filter_by.startswith("low_"):
        number = int((off_diagonal & ~kept).sum())
        flags = np.zeros(len(labels), bool)
        flags[np.argsort(scores(probabilities, labels, filter_by.removeprefix("low_")))[:number]] = True
        return flags
    if filter_by == "predicted_neq_given":
        flags = probabilities.argmax(1) != labels
    elif filter_by == "confident_learning":
        flags = off_diagonal
    else:
        flags = _pruned(probabilities, labels, _to_prune(_calibrated(counts, labels)), filter_by)
    return flags & ~kept


def scores(
    probabilities: np.ndarray, labels: np.ndarray, method: str = "self_confidence", adjust: bool = False
) -> np.ndarray:
    """Return a quality score of each label, (n,); labels with the lowest scores are most likely wrong.

    Args:
        method: ``self_confidence``, the probability of the label; ``normalized_margin``, the same minus the largest
            other probability, mapped to [0, 1]; ``confidence_weighted_entropy``, log(1 + q) / q, where q is the
            normalized entropy divided by the probability of the label.
        adjust: subtract the class thresholds first, which corrects for classes with low confidence; not available for
            ``confidence_weighted_entropy``.

    Raises:
        UserError: the method is unknown, shapes do not match, or values are not probabilities or class ids.
    """
    check(method in METHODS, f"method {method!r}: the choices are {', '.join(METHODS)}")
    probabilities, labels = checked(probabilities, labels)
    if adjust:
        if method == "confidence_weighted_entropy":
            raise UserError("confidence_weighted_entropy cannot be adjusted; choose another method")
        limits = thresholds(probabilities, labels)
        probabilities = probabilities - limits + limits.max()
        probabilities = probabilities / probabilities.sum(1, keepdims=True)
    own = of_label(probabilities, labels)
    if method == "self_confidence":
        return own
    if method == "normalized_margin":
        return (own - best_other(probabilities, labels)[0] + 1) / 2
    entropy = -xlogy(probabilities, probabilities).sum(1) / np.log(probabilities.shape[1])
    ratio = entropy / np.maximum(own, EPSILON)
    return np.log(ratio + 1) / np.maximum(ratio, EPSILON)


# The joint


def _joint(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confident joint (K, K) and the rows off its diagonal, (n,) bool."""
    classes = probabilities.shape[1]
    confident = probabilities >= thresholds(probabilities, labels) - EPSILON  # (n, K)
    number = confident.sum(1)
    guess = np.where(number > 1, probabilities.argmax(1), confident.argmax(1))
    counted = number > 0
    counts = np.bincount(labels[counted] * classes + guess[counted], minlength=classes**2).reshape(classes, classes)
    np.fill_diagonal(counts, counts.diagonal().clip(min=1))
    return counts, counted & (guess != labels)


def _calibrated(counts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scale the rows of the joint to the label counts and round them, preserving the row sums."""
    given = np.bincount(labels, minlength=len(counts))
    scaled = (counts.T / np.maximum(counts.sum(1), TINY) * given).T
    return _rounded(scaled / max(scaled.sum(), TINY) * len(labels))


def _rounded(matrix: np.ndarray) -> np.ndarray:
    """Round to integers; preserve the row sums by adjusting the entries with the largest rounding error."""
    result = matrix.round()
    for exact, row in zip(matrix, result, strict=True):
        while (difference := round(exact.sum()) - round(row.sum())) != 0:
            step = 1 if difference > 0 else -1
            order = np.argsort(exact - row)[::-step]
            row[order[: abs(difference)]] += step
    return result.astype(np.int64)


def _agrees(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether the most probable class of each row is the given one, (n,) bool; the given class wins ties."""
    raised = probabilities.copy()
    raised[np.arange(len(labels)), labels] += EPSILON
    return raised.argmax(1) == labels


def _as_rates(matrix: np.ndarray) -> np.ndarray:
    """Clip the off-diagonal entries of a noise matrix below 1, and normalize its columns to sum 1."""
    clipped = np.clip(matrix, 0, 0.9999)
    np.fill_diagonal(clipped, matrix.diagonal())
    return clipped / np.maximum(clipped.sum(0), TINY)


# Pruning


def _to_prune(counts: np.ndarray) -> np.ndarray:
    """Return the number of rows to flag, (true class, given label); at least one row of each given label remains."""
    matrix = counts.T.astype(np.float64)
    kept = np.maximum(matrix.diagonal(), 1)
    others = np.maximum(np.count_nonzero(matrix, axis=0) - 1, 1)
    reduced = np.maximum(matrix - (kept - matrix.diagonal()) / others, 0)
    np.fill_diagonal(reduced, kept)
    return _rounded(reduced.astype(np.int64).astype(np.float64))


def _pruned(probabilities: np.ndarray, labels: np.ndarray, numbers: np.ndarray, filter_by: str) -> np.ndarray:
    by_class, by_rate = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    for k in range(len(numbers)):
        rows = np.flatnonzero(labels == k)
        if len(rows) <= 1:
            continue
        own = probabilities[rows]
        lowest = np.argsort(own[:, k])
        by_class[rows[lowest[: max(0, len(rows) - numbers[k, k])]]] = True
        for j in range(len(numbers)):
            if j != k and numbers[j, k] > 0:
                by_rate[rows[np.argsort(own[:, k] - own[:, j])[: numbers[j, k]]]] = True
    return {"prune_by_class": by_class, "prune_by_noise_rate": by_rate, "both": by_class & by_rate}[filter_by]
