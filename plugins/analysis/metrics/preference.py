"""Metrics of scores: accuracy on comparisons as trl logs it, rank correlation with ratings, length as baseline."""

import numpy as np

COMPARED = ("accuracy", "margin", "mean_reward", "min_reward", "max_reward", "length_accuracy")
RATED = ("accuracy", "spearman", "mean_reward", "min_reward", "max_reward", "length_accuracy")
PAIRS = 100_000  # maximum number of pairs of rated texts


def of_pairs(rows: np.ndarray) -> dict[str, float]:
    """Return the metrics of comparisons.

    Args:
        rows: (P, 4), the scores of the better and of the worse text and the lengths of both; NaN for a tie.

    Returns:
        ``accuracy`` (equal scores count half), ``margin``, the mean difference, ``mean_reward``, ``min_reward``,
        ``max_reward``, and ``length_accuracy``, that of scoring a text by its length; NaN without comparisons.
    """
    rows = rows[~np.isnan(rows).any(1)]
    if not len(rows):
        return dict.fromkeys(COMPARED, float("nan"))
    better, worse, long, short = rows.T
    found = {"accuracy": share(better, worse), "margin": float((better - worse).mean())}
    return found | rewards(rows[:, :2]) | {"length_accuracy": share(long, short)}


def of_ratings(rows: np.ndarray, seed: int = 1) -> dict[str, float]:
    """Return the metrics of rated texts.

    Args:
        rows: (N, 4): scores, ratings, lengths, numbers.
        seed: random seed of the pairs that are drawn.

    Returns:
        As :func:`of_pairs`, over pairs of texts with different ratings (at most 100,000, drawn at random), with
        ``spearman`` in place of ``margin``.
    """
    from scipy.stats import spearmanr

    scores, ratings, lengths = rows[np.argsort(rows[:, 3], kind="stable"), :3].T
    n = len(scores)
    few = n * (n - 1) // 2 <= PAIRS
    i, j = np.triu_indices(n, 1) if few else np.random.default_rng(seed).integers(0, n, (2, PAIRS))
    i, j = i[ratings[i] != ratings[j]], j[ratings[i] != ratings[j]]
    if not len(i):
        return dict.fromkeys(RATED, float("nan"))
    better, worse = np.where(ratings[i] > ratings[j], i, j), np.where(ratings[i] > ratings[j], j, i)
    spearman = 0.0 if np.ptp(scores) == 0 else float(spearmanr(scores, ratings)[0])
    found = {"accuracy": share(scores[better], scores[worse]), "spearman": spearman}
    return found | rewards(scores) | {"length_accuracy": share(lengths[better], lengths[worse])}


def share(better: np.ndarray, worse: np.ndarray) -> float:
    """Return how often (P,) numbers are above (P,) others; equal ones count half."""
    return float(((better > worse) + 0.5 * (better == worse)).mean())


def rewards(scores: np.ndarray) -> dict[str, float]:
    """Return the mean, the lowest and the highest of scores."""
    return {"mean_reward": float(scores.mean()), "min_reward": float(scores.min()), "max_reward": float(scores.max())}
