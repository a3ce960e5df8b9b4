"""GLUE's official metrics over a whole split. Names and fractions (0 to 1) are Hugging Face's."""

import math

import numpy as np


def scores(names, predictions, targets):
    """Return {name: value} of the metrics asked for.

    Args:
        names: some of ``plugins.data.glue.specs.METRICS``.
        predictions, targets: (N,) class ids, or numbers for a regression.

    ``combined_score`` is the mean of the others asked for.
    """
    predictions, targets = np.asarray(predictions, float), np.asarray(targets, float)
    found = {name: FUNCTIONS[name](predictions, targets) for name in names if name in FUNCTIONS}
    if "combined_score" in names:
        found["combined_score"] = float(np.mean(list(found.values())))
    return found


def accuracy(predictions, targets):
    return float(np.mean(predictions == targets))


def f1(predictions, targets):
    """F1 of class 1; 0 if it neither occurs nor is predicted."""
    hits = np.sum((predictions == 1) & (targets == 1))
    both = np.sum(predictions == 1) + np.sum(targets == 1)
    return float(2 * hits / both) if both else 0.0


def matthews_correlation(predictions, targets):
    """Matthews' correlation for any number of classes (Gorodkin, 2004, eq. 8); 0 if either side is constant."""
    classes, codes = np.unique(np.concatenate([predictions, targets]), return_inverse=True)
    predicted, true = np.eye(len(classes))[codes].reshape(2, -1, len(classes))  # (N, K) one-hot, each
    covariance = covariance_of(true, predicted)
    scale = math.sqrt(covariance_of(predicted, predicted) * covariance_of(true, true))
    return covariance / scale if scale else 0.0


def covariance_of(x, y):
    return float(np.sum((x - x.mean(0)) * (y - y.mean(0))))


def pearson(predictions, targets):
    """Pearson's correlation; 0 where it is undefined, since one side is constant."""
    x, y = predictions - predictions.mean(), targets - targets.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if np.ptp(predictions) == 0 or np.ptp(targets) == 0 or not scale:
        return 0.0
    return float(x @ y) / scale


def spearmanr(predictions, targets):
    """Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank."""
    return pearson(ranks(predictions), ranks(targets))


def ranks(values):
    _, code, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)  # rank of the last of each group of ties
    return (last - (count - 1) / 2)[code]


FUNCTIONS = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews_correlation": matthews_correlation,
    "pearson": pearson,
    "spearmanr": spearmanr,
}


# Regression: the loss of the published tables


def mean_squared_error(predictions, targets):
    return float(np.mean((np.asarray(predictions, float) - np.asarray(targets, float)) ** 2))


def published_loss(mse, scale):
    """Return what fairseq's recipe logs for STS-B: labels from 0 to 1, the loss divided by ln 2, as if in bits.

    Args:
        mse: mean squared error on the labels' own scale.
        scale: (lowest, highest) label.
    """
    return mse / (scale[1] - scale[0]) ** 2 / math.log(2)


# What a model that learned nothing reaches


def majority(labels):
    """Return the most frequent id among training labels (N,), the smaller of equals."""
    return int(np.bincount(labels).argmax())


def baseline(names, train_labels, targets, regression):
    """Return the metrics of always answering the training labels' most frequent class, or their mean."""
    answer = float(np.mean(train_labels)) if regression else majority(train_labels)
    return scores(names, np.full(len(targets), answer), targets)


def top_share(predictions):
    """Return the share of the most frequent prediction: 1.0 says that a classifier ended at one class."""
    return float(np.unique(predictions, return_counts=True)[1].max() / len(predictions))


def collapsed(predictions, scale=(), share=0.99):
    """Whether predictions are one class, or one number, nearly throughout."""
    if scale:
        return bool(np.std(predictions) < 0.01 * (scale[1] - scale[0]))
    return top_share(predictions) >= share
