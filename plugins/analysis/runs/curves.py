"""Curves and summaries of the records of runs, and means over several runs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from plugins.analysis.metrics.means import standard_error
from plugins.analysis.runs.logs import INNER, VALID, LoggedRecord


def curve(records: Iterable[LoggedRecord], name: str, stage: str = VALID) -> tuple[np.ndarray, np.ndarray]:
    """Return (updates, values) of a quantity at a stage, each (N,)."""
    points = [(r.updates, r.values[name]) for r in records if r.stage == stage and name in r.values]
    updates, values = np.array(points, dtype=float).reshape(-1, 2).T
    return updates.astype(int), values


@dataclass(frozen=True)
class Summary:
    """Summary of a run; NaN for numbers that the log does not contain.

    Attributes:
        updates: updates made.
        perplexity: the best validation perplexity.
        tokens_per_second: tokens per second of training, without validation and checkpoints.
        seconds: seconds of training, validation and checkpoints, including earlier parts of a resumed run.
    """

    updates: int
    perplexity: float
    tokens_per_second: float
    seconds: float


def summarize(records: list[LoggedRecord]) -> Summary:
    """Return the summary of the records of a run."""
    _, perplexity = curve(records, "ppl")
    _, speed = curve(records, "wps", INNER)
    seconds = [r.values["wall"] for r in records if "wall" in r.values]
    return Summary(
        updates=max((r.updates for r in records), default=0),
        perplexity=float(min(perplexity, default=math.nan)),
        # The median: the time of an interval with a validation in it includes the validation.
        tokens_per_second=float(np.median(speed[speed > 0])) if (speed > 0).any() else math.nan,
        seconds=seconds[-1] if seconds else math.nan,
    )


def average(curves: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (updates, means, standard errors), each (N,), of several curves at the updates that all of them have.

    The standard error of a single curve is 0, so that its band has no width.
    """
    curves = [dict(zip(*map(np.ndarray.tolist, points), strict=True)) for points in curves]
    shared = sorted(set.intersection(*(set(points) for points in curves)))
    values = np.array([[points[x] for x in shared] for points in curves])  # (runs, N)
    errors = np.asarray(standard_error(values)) if len(curves) > 1 else np.zeros(len(shared))
    return np.array(shared, dtype=int), values.mean(0), errors


def unigram_perplexity(train_counts: np.ndarray, valid_counts: np.ndarray) -> float:
    """Return the perplexity of the unigram model, which predicts every token by its frequency.

    Args:
        train_counts: (V,) occurrences of each token in the training text; one is added to each (Laplace smoothing).
        valid_counts: (V,) occurrences of each token in the text that is predicted.
    """
    frequency = (train_counts + 1) / (train_counts + 1).sum()
    return float(np.exp(-(valid_counts * np.log(frequency)).sum() / valid_counts.sum()))
