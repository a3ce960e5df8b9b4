"""Scores of frozen features for a labeled task, without training a model; higher is better."""

import numpy as np

from plugins.analysis.metrics.retrieval import class_metrics
from plugins.errors import UserError

STEPS, TOLERANCE = 100, 1e-9  # fixed-point iteration of LogME
FOLDS = 5  # of the cross-validated probe


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log evidence per row of Bayesian linear regression on one-hot labels (You et al., 2021, LogME).

    Args:
        features: (N, d).
        labels: (N,) class ids.

    Raises:
        UserError: fewer than two classes.
    """
    f, classes = np.asarray(features, np.float64), _classes(labels)
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    return float(np.mean([_evidence(u, s**2, f.shape, (labels == label).astype(float)) for label in classes]))


def _evidence(u: np.ndarray, energy: np.ndarray, shape: tuple[int, int], y: np.ndarray) -> float:
    """Return the log evidence per row of targets y (N,), maximized over the precisions of weights and of noise.

    Args:
        u: (N, k) left singular vectors of the features.
        energy: (k,) squared singular values.
        shape: (N, d).
    """
    n, d = shape
    projected = (u.T @ y) ** 2  # (k,)
    outside = y @ y - projected.sum()
    alpha = beta = 1.0
    for _ in range(STEPS):
        ratio = alpha / beta
        gamma = (energy / (energy + ratio)).sum()
        weights = (projected * energy / (energy + ratio) ** 2).sum()  # |m|^2
        residual = outside + (projected * (ratio / (energy + ratio)) ** 2).sum()  # |y - Fm|^2
        alpha, beta = gamma / max(weights, 1e-12), (n - gamma) / max(residual, 1e-12)
        if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
            break
    ratio = alpha / beta
    weights = (projected * energy / (energy + ratio) ** 2).sum()
    residual = outside + (projected * (ratio / (energy + ratio)) ** 2).sum()
    determinant = np.log(alpha + beta * energy).sum() + (d - len(energy)) * np.log(alpha)
    evidence = d * np.log(alpha) + n * np.log(beta) - determinant - beta * residual - alpha * weights
    return (evidence - n * np.log(2 * np.pi)) / (2 * n)


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return tr(cov(f)^+ cov(E[f | y])) (Bao et al., 2019, definition 2)."""
    f = np.asarray(features, np.float64)
    f = f - f.mean(0)
    means = np.zeros_like(f)
    for label in _classes(labels):
        means[labels == label] = f[labels == label].mean(0)
    return float(np.trace(np.linalg.pinv(f.T @ f, rcond=1e-10) @ (means.T @ means)))


def linear_information(features: np.ndarray, labels: np.ndarray, folds: int = FOLDS, seed: int = 0) -> float:
    """Return H(Y) less the cross-validated log loss of a logistic regression, in nats per row: the V-information of
    linear probes (Xu et al., 2020, definition 2). Below 0 if the probe predicts worse than the class shares.

    Args:
        features: (N, d).
        labels: (N,) class ids.
        folds: number of cross-validation folds.
        seed: random seed of the folds.

    Raises:
        UserError: a class has fewer rows than folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = _classes(labels)
    shares = np.array([(labels == label).mean() for label in classes])
    if (shares * len(labels)).min() < folds:
        raise UserError(f"a class has fewer than {folds} rows, one for each fold; read more with --rows")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    predicted = cross_val_predict(probe, features, labels, cv=split, method="predict_proba")
    return float(-(shares * np.log(shares)).sum() - log_loss(labels, predicted, labels=classes))


def nearest_neighbor(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of the 5 nearest other rows (1 if there are few), by cosine."""
    found = class_metrics(features, labels, (1, 5))
    return found.get("knn_accuracy_5", found["knn_accuracy_1"])


def _classes(labels: np.ndarray) -> np.ndarray:
    classes = np.unique(labels)
    if len(classes) < 2:
        raise UserError("a score of features needs rows of two classes")
    return classes


SCORES = {"logme": logme, "h_score": h_score, "linear_information": linear_information, "knn": nearest_neighbor}
