"""The review loop: rank likely label errors, and update the ranking with a reviewer's judgments.

A logistic regression on the model's scores of a row and on its pair of given and suggested label learns, from about
twenty judgments, which classes are confused. Without judgments, its Gaussian prior ranks by the model's scores, like
a static order. ``page/review.js`` is the same algorithm in JavaScript.

Shapes: n rows, K classes, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import beta

from . import confident
from .predictions import best_other, of_label

EVERY = 20  # judgments between two rankings
RECENT, FEW = 40, 0.1  # stop when the error rate of the recent judgments is below FEW with 90 % probability


@dataclass(frozen=True)
class Prior:
    """Independent normal distributions of the weights.

    Attributes:
        mean: (D + 1,), the intercept last.
        precision: (D + 1,) inverse variances.
    """

    mean: np.ndarray
    precision: np.ndarray


def prior(classes: int) -> Prior:
    """Return the prior for :func:`features` of K classes.

    The log odds of the best other class and the adjusted margin have equal weights of low variance; the weights of
    labels and pairs of labels have a high variance. The intercept corresponds to about one error in eight rows.
    ``scripts/benchmark_label_errors.py`` evaluates the resulting order.
    """
    others = classes + classes * classes
    mean = np.array([1.0, 0.0, 0.0, -1.0, *[0.0] * others, -2.0])
    return Prior(mean, 1 / np.array([*[0.1] * 4, *[1.0] * others, 4.0]))


def features(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the features of each row, (n, 4 + K + K^2) float64.

    They are four standardized numbers (log odds of the best other class, -log p of the label, largest log p,
    normalized margin with class thresholds), the given label, and the pair of given label and best other class.

    Args:
        log_probabilities: (n, K) natural, out of sample.
        labels: (n,) given class ids.
    """
    rows, classes = log_probabilities.shape
    own = of_label(log_probabilities, labels)
    other, which = best_other(log_probabilities, labels)
    probabilities = np.exp(log_probabilities)
    probabilities /= probabilities.sum(1, keepdims=True)
    adjusted = confident.scores(probabilities, labels, "normalized_margin", adjust=True)
    numbers = np.stack([other - own, -own, log_probabilities.max(1), adjusted], 1)
    spread = numbers.std(0)
    numbers = (numbers - numbers.mean(0)) / np.where(spread > 0, spread, 1)
    pairs = np.zeros((rows, classes * classes))
    pairs[np.arange(rows), labels * classes + which] = 1
    return np.concatenate([numbers, np.eye(classes)[labels], pairs], 1)


def fit(x: np.ndarray, wrong: np.ndarray, prior: Prior) -> np.ndarray:
    """Return the maximum a posteriori weights of a logistic regression, (D + 1,), the intercept last.

    Minimizes sum log(1 + exp(-y f)) + sum precision (w - mean)^2 / 2 with damped Newton steps.

    Args:
        x: (m, D) features of the judged rows.
        wrong: (m,) bool, judgments of the rows.
        prior: prior of the weights.
    """
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    weights = prior.mean.copy()
    y = np.asarray(wrong, float)

    def loss(w: np.ndarray) -> float:
        f = x @ w
        return float(np.logaddexp(0, f).sum() - y @ f + (prior.precision * (w - prior.mean) ** 2).sum() / 2)

    current = loss(weights)
    for _ in range(50):
        p = expit(x @ weights)
        gradient = x.T @ (p - y) + prior.precision * (weights - prior.mean)
        hessian = (x.T * (p * (1 - p))) @ x + np.diag(prior.precision)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while (new := loss(weights - size * step)) > current and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if current - new < 1e-10:
            break
        current = new
    return weights


def probability(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the probability that each label is wrong, (n,), from features (n, D)."""
    return expit(x @ weights[:-1] + weights[-1])


def simulate(
    x: np.ndarray, start: np.ndarray, judge: Callable[[int], bool], rows: int, prior: Prior, every: int = EVERY
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a review; return the rows in the order shown, and the judgments, (rows,) each.

    Args:
        x: (n, D) features.
        start: (n,) scores of the initial order, ascending.
        judge: returns whether the label of a row is wrong.
        rows: number of rows to show.
        prior: prior of the weights.
        every: number of judgments between two rankings.
    """
    waiting = np.argsort(start, kind="stable")
    shown: list[int] = []
    judged: list[bool] = []
    while len(shown) < min(rows, len(start)):
        batch = waiting[: min(every, rows - len(shown))]
        shown += batch.tolist()
        judged += [bool(judge(int(row))) for row in batch]
        waiting = waiting[len(batch) :]
        scores = probability(x[waiting], fit(x[shown], np.array(judged), prior))
        waiting = waiting[np.argsort(-scores, kind="stable")]
    return np.array(shown), np.array(judged)


def stopping_table(recent: int = RECENT) -> list[list[float]]:
    """Return the 90 % interval of the error rate for 0, 1, ... errors among ``recent`` judgments, (recent + 1, 2).

    It is that of the Beta posterior under a uniform prior; the review may stop when its upper end is below :data:`FEW`.
    """
    errors = np.arange(recent + 1)
    low, high = (beta.ppf(q, errors + 1, recent - errors + 1) for q in (0.05, 0.95))
    return np.stack([low, high], 1).round(4).tolist()
