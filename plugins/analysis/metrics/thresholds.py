"""Choose a threshold on scores, with a bootstrap interval of the choice."""

from typing import Any

import numpy as np

from plugins.errors import UserError

METRICS = ("f1", "mcc", "precision_at_recall", "cost")


def candidates(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the midpoints between distinct scores, and one below all, with the counts of each: one sort.

    Args:
        scores: (N,), higher for class 1.
        labels: (N,) of 0 and 1.

    Returns:
        ``threshold``, ``tp``, ``fp``, ``fn``, ``tn``, (C,) each; class 1 is predicted above a threshold.
    """
    order = np.argsort(scores, kind="stable")
    scores, labels = np.asarray(scores, float)[order], np.asarray(labels)[order]
    cuts = np.flatnonzero(np.diff(scores) > 0) + 1  # rows below each midpoint
    thresholds = np.concatenate([[scores[0] - 1], (scores[cuts - 1] + scores[cuts]) / 2])
    below = np.concatenate([[0], np.cumsum(labels)])[np.concatenate([[0], cuts])]  # class 1 below each cut
    rows = np.concatenate([[0], cuts])
    positives, total = int(labels.sum()), len(labels)
    return {
        "threshold": thresholds, "fn": below, "tn": rows - below, "tp": positives - below,
        "fp": total - rows - (positives - below),
    }  # fmt: skip


def values(counts: dict[str, np.ndarray], metric: str, recall: float = 0.9, costs: tuple = (1.0, 1.0)) -> np.ndarray:
    """Return the metric of each candidate, (C,), higher for better.

    Args:
        metric: ``f1``, ``mcc``, ``precision_at_recall`` (where recall is at least ``recall``, else -1) or ``cost``
            (minus the mean of ``costs``, those of a false positive and a false negative).

    Raises:
        UserError: the metric is unknown.
    """
    tp, fp, fn, tn = (counts[name].astype(float) for name in ("tp", "fp", "fn", "tn"))
    if metric == "f1":
        return 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    if metric == "mcc":
        scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return np.where(scale > 0, (tp * tn - fp * fn) / np.where(scale > 0, scale, 1), 0.0)
    if metric == "precision_at_recall":
        enough = tp / np.maximum(tp + fn, 1) >= recall
        return np.where(enough, tp / np.maximum(tp + fp, 1), -1.0)
    if metric == "cost":
        return -(costs[0] * fp + costs[1] * fn) / (tp + fp + fn + tn)
    raise UserError(f"--metric {metric}: choose one of {', '.join(METRICS)}")


def choose(scores: np.ndarray, labels: np.ndarray, metric: str = "f1", **options: Any) -> tuple[float, float]:
    """Return the best threshold and its value: of equally good ones the middle of the longest stretch.

    Args:
        scores: (N,).
        labels: (N,) of 0 and 1.
        options: those of :func:`values`.

    Raises:
        UserError: all labels are of one class, or the metric is unknown.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        raise UserError("a threshold needs texts of both classes")
    counts = candidates(scores, labels)
    found = values(counts, metric, **options)
    best = np.flatnonzero(np.isclose(found, found.max(), rtol=0, atol=1e-12))
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    stretch = max(runs, key=lambda run: counts["threshold"][run[-1]] - counts["threshold"][run[0]])
    middle = float(np.mean(counts["threshold"][[stretch[0], stretch[-1]]]))
    return middle, float(found.max())


def at(scores: np.ndarray, labels: np.ndarray, threshold: float, metric: str, **options: Any) -> float:
    """Return the metric of a given threshold.

    Args:
        scores: (N,), higher for class 1.
        labels: (N,) of 0 and 1.
        threshold: class 1 is predicted above it.
        metric, options: those of :func:`values`.
    """
    predicted, labels = np.asarray(scores) > threshold, np.asarray(labels).astype(bool)
    wrong = predicted != labels
    counts = {"tp": predicted & labels, "fp": predicted & wrong, "fn": labels & wrong, "tn": ~(predicted | labels)}
    return float(values({name: np.array([mask.sum()]) for name, mask in counts.items()}, metric, **options)[0])


def interval(
    scores: np.ndarray, labels: np.ndarray, metric: str = "f1", resamples: int = 1000, seed: int = 0, **options: Any
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals of the threshold and of its value; each resample repeats the choice.

    Args:
        scores: (N,), higher for class 1.
        labels: (N,) of 0 and 1.
        metric, options: those of :func:`values`.
        resamples: number of bootstrap samples.
        seed: random seed of the samples.
    """
    scores, labels, draw = np.asarray(scores, float), np.asarray(labels), np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        rows = draw.integers(0, len(labels), len(labels))
        if 0 < labels[rows].sum() < len(rows):
            found.append(choose(scores[rows], labels[rows], metric, **options))
    low, high = np.quantile(np.array(found), [0.025, 0.975], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("threshold", "value"))}


def platt(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return a, b of P(class 1) = sigmoid(a * score + b), by logistic regression on smoothed targets (Platt, 1999)."""
    from scipy.optimize import minimize

    scores, labels = np.asarray(scores, float), np.asarray(labels)
    positive, negative = labels.sum(), len(labels) - labels.sum()
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(parameters):
        z = parameters[0] * scores + parameters[1]
        return np.sum(np.logaddexp(0, z) - target * z)

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return float(slope), float(offset)
