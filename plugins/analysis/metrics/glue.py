"""GLUE's official metrics over a whole split (Wang et al., 2019), with Hugging Face's names, from 0 to 1."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def scores(names: Sequence[str], predictions: ArrayLike, targets: ArrayLike) -> dict[str, float]:
    """Return the values of some metrics by name.

    Args:
        names: some of ``plugins.data.glue.specs.METRICS``.
        predictions, targets: (N,) class ids, or numbers for a regression.

    ``combined_score`` is the mean of the others in ``names``.
    """
    predictions, targets = np.asarray(predictions, float), np.asarray(targets, float)
    found = {name: FUNCTIONS[name](predictions, targets) for name in names if name in FUNCTIONS}
    if "combined_score" in names:
        found["combined_score"] = float(np.mean(list(found.values())))
    return found


def accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of correct predictions."""
    return float(np.mean(predictions == targets))


def f1(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return the F1 of class 1; 0 if the class neither occurs nor is predicted."""
    hits = np.sum((predictions == 1) & (targets == 1))
    both = np.sum(predictions == 1) + np.sum(targets == 1)
    return float(2 * hits / both) if both else 0.0


def matthews_correlation(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return Matthews' correlation for any number of classes (Gorodkin, 2004, eq. 8); 0 if either side is constant."""
    classes, codes = np.unique(np.concatenate([predictions, targets]), return_inverse=True)
    predicted, true = np.eye(len(classes))[codes].reshape(2, -1, len(classes))  # (N, K) one-hot, each
    covariance = covariance_of(true, predicted)
    scale = math.sqrt(covariance_of(predicted, predicted) * covariance_of(true, true))
    return covariance / scale if scale else 0.0


def covariance_of(x: np.ndarray, y: np.ndarray) -> float:
    """Return N times the covariance of x and y, (N, K) each, summed over K."""
    return float(np.sum((x - x.mean(0)) * (y - y.mean(0))))


def pearson(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where it is undefined because one side is constant."""
    x, y = predictions - predictions.mean(), targets - targets.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if np.ptp(predictions) == 0 or np.ptp(targets) == 0 or not scale:
        return 0.0
    return float(x @ y) / scale


def spearmanr(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return Spearman's correlation: Pearson's correlation of the ranks, ties with their mean rank."""
    return pearson(ranks(predictions), ranks(targets))


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks (N,) of values from 1, ties with their mean rank."""
    _, code, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)  # rank of the last of each group of ties
    return (last - (count - 1) / 2)[code]


COLLAPSED = 0.99  # share of the most frequent class from which on a classifier has collapsed
FUNCTIONS = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews_correlation": matthews_correlation,
    "pearson": pearson,
    "spearmanr": spearmanr,
}


# Regression: the loss of the published tables


def mean_squared_error(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Return the mean squared error."""
    return float(np.mean((np.asarray(predictions, float) - np.asarray(targets, float)) ** 2))


def published_loss(mse: float, scale: tuple[float, float]) -> float:
    """Return the loss that fairseq's fine-tuning logs for STS-B: of labels from 0 to 1, divided by ln 2 as if in bits.

    Args:
        mse: mean squared error on the original scale of the labels.
        scale: (lowest, highest) label.
    """
    return mse / (scale[1] - scale[0]) ** 2 / math.log(2)


# Baselines: the scores of a model that learned nothing


def majority(labels: np.ndarray) -> int:
    """Return the most frequent id among training labels (N,), the smallest of ties."""
    return int(np.bincount(labels).argmax())


def baseline(names: Sequence[str], train_labels: np.ndarray, targets: np.ndarray, regression: bool) -> dict[str, float]:
    """Return the metrics of always predicting the most frequent training label, or the mean of a regression's.

    Args:
        names: as in :func:`scores`.
        train_labels: (M,) labels of the training split.
        targets: (N,) labels of the evaluated split.
        regression: labels are scores.
    """
    answer = float(np.mean(train_labels)) if regression else majority(train_labels)
    return scores(names, np.full(len(targets), answer), targets)


def top_share(predictions: np.ndarray) -> float:
    """Return the share of the most frequent prediction; 1.0 means that a classifier always predicts one class."""
    return float(np.unique(predictions, return_counts=True)[1].max() / len(predictions))


def collapsed(predictions: np.ndarray, scale: Sequence[float] = ()) -> bool:
    """Return whether nearly all predictions are the same.

    Args:
        predictions: (N,) class ids, or numbers for a regression.
        scale: (lowest, highest) label of a regression, which has collapsed if the standard deviation of its
            predictions is below a hundredth of the scale; empty for classes.
    """
    if scale:
        return bool(np.std(predictions) < 0.01 * (scale[1] - scale[0]))
    return top_share(predictions) >= COLLAPSED
