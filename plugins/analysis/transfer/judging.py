"""Evaluate how well a ranking of source tasks predicts the scores after transfer."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from plugins.errors import UserError


def regret(predicted: Mapping[str, float], actual: Mapping[str, float], k: int = 1) -> float:
    """Return (best score - best score among the k sources that are predicted to be best) / best score.

    Args:
        predicted: {source: prediction}, higher for better.
        actual: {source: score of the target after transfer from it}.
        k: sources that are tried (Poth et al., 2021, section 4.3, Regret@k).

    Returns:
        The regret; NaN if the best score is not positive, as that of a Matthews correlation may be.

    Raises:
        UserError: the sources differ.
    """
    ranked, best = _ranked(predicted, actual), max(actual.values())
    return relative_regret([actual[name] for name in ranked[:k]], best)


def chance_regret(actual: Mapping[str, float], k: int = 1) -> float:
    """Return the mean of :func:`regret` over all choices of k sources."""
    best = max(actual.values())
    return float(np.mean([relative_regret(tried, best) for tried in itertools.combinations(actual.values(), k)]))


def relative_regret(tried: Sequence[float], best: float) -> float:
    """Return how far the best of some scores is below the best score, over the best score."""
    return (best - max(tried)) / best if best > 0 else math.nan


def rank_of_best(predicted: Mapping[str, float], actual: Mapping[str, float]) -> int:
    """Return the predicted rank, from 1, of the best source."""
    return _ranked(predicted, actual).index(max(actual, key=actual.__getitem__)) + 1


def ndcg(predicted: Mapping[str, float], actual: Mapping[str, float]) -> float:
    """Return the nDCG of a ranking, the gain of a source being its score less the lowest."""
    ranked, low = _ranked(predicted, actual), min(actual.values())
    discount = 1 / np.log2(np.arange(2, len(ranked) + 2))
    gains = np.array([actual[name] - low for name in ranked])
    ideal = (np.sort(gains)[::-1] * discount).sum()
    return float((gains * discount).sum() / ideal) if ideal else 1.0


def _ranked(predicted: Mapping[str, float], actual: Mapping[str, float]) -> list[str]:
    if predicted.keys() != actual.keys() or not actual:
        differing = sorted(predicted.keys() ^ actual.keys())
        raise UserError(f"predictions and scores are of different sources: {', '.join(differing) or 'there are none'}")
    return sorted(predicted, key=lambda name: -predicted[name])
