"""V-usable information and pointwise V-information (PVI, the value of a single row), in bits.

Ethayarajh, Choi and Swayamdipta, 2022, "Understanding Dataset Difficulty with V-Usable Information"
(arXiv 2110.08420): H_V(Y) = E[-log2 g0(y)] under the best prediction without the input, H_V(Y|X) = E[-log2 g(x)(y)]
under a model of the input, I_V(X -> Y) = H_V(Y) - H_V(Y|X), and PVI(x -> y) = log2 g(x)(y) - log2 g0(y).

Shapes: n rows, K classes, S seeds.
"""

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax

from plugins.errors import check

from .predictions import checked_labels, checked_logits, log2_softmax, of_label

COLDEST, HOTTEST = 0.01, 100.0  # temperature range: the optimum for separable classes is 0
LARGEST_BIAS = 10.0


def prior_log2(labels: np.ndarray, num_classes: int, smoothing: float = 0.5) -> np.ndarray:
    """Return the log2 label distribution of the training rows, (K,): the best prediction without an input.

    Args:
        labels: (m,) labels of the training rows.
        num_classes: K.
        smoothing: count added to each class; a value above 0 gives classes without training rows a finite logarithm.

    Raises:
        UserError: a label is out of range.
    """
    counts = np.bincount(checked_labels(labels, num_classes), minlength=num_classes) + smoothing
    with np.errstate(divide="ignore"):
        return np.log2(counts / counts.sum())


def pvi(logits: np.ndarray, labels: np.ndarray, null_log2: np.ndarray) -> np.ndarray:
    """Return the pointwise V-information of each row, (n,) bits.

    Args:
        logits: (n, K) logits of a model that was not trained on these rows; (S, n, K) gives (S, n).
        labels: (n,) class ids.
        null_log2: log2 probabilities predicted without the input, or from a part of it: (K,) for all rows, or (n, K).

    Raises:
        UserError: shapes do not match, a label is out of range, or a value is NaN.
    """
    h_yb, h_yx = entropies(logits, labels, null_log2)
    return h_yb - h_yx


def entropies(logits: np.ndarray, labels: np.ndarray, null_log2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the surprisal of each label in bits, without the input (``H_yb``, (n,)) and with it (``H_yx``, (..., n)).

    See :func:`pvi` for arguments and errors.
    """
    found = log2_softmax(logits)  # (..., n, K)
    rows, classes = found.shape[-2:]
    labels = checked_labels(labels, classes, rows)
    null = np.asarray(null_log2, np.float64)
    fits = null.shape in ((classes,), (rows, classes)) and not np.isnan(null).any()
    check(fits, f"null_log2: ({classes},) or ({rows}, {classes}) numbers are expected, not the shape {null.shape}")
    return -of_label(np.broadcast_to(null, (rows, classes)), labels), -of_label(found, labels)


def expected_pvi(logits: np.ndarray, distribution: np.ndarray, null_log2: np.ndarray) -> np.ndarray:
    """Return the expected PVI under the annotators' label distribution q, sum_y q(y) PVI(x -> y), (n,) bits.

    Args:
        logits: (n, K).
        distribution: (n, K) q, the fraction of annotators who chose each class.
        null_log2: (K,) or (n, K).
    """
    return (np.asarray(distribution) * (log2_softmax(logits) - null_log2)).sum(-1)


# Temperature scaling: V contains f / T for each f, so the best T gives a tighter estimate of the same infimum


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T > 0 that maximizes the likelihood of the labels under softmax(logits / T) (Guo et al., 2017).

    The loss is convex in 1 / T, so its derivative has one root. T is clipped to [0.01, 100].
    """
    logits = checked_logits(logits)
    labels = checked_labels(labels, logits.shape[-1], logits.shape[-2])
    right = of_label(logits, labels)

    def slope(inverse: float) -> float:
        scaled = logits * inverse
        weights = np.exp(scaled - scaled.max(-1, keepdims=True))
        mean = (weights * logits).sum(-1) / weights.sum(-1)  # expected logit
        return float(np.mean(mean - right))

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return 1 / brentq(slope, low, high, xtol=1e-9)


def temperature_and_bias(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the T > 0 and the bias (K,) of mean 0 that maximize the likelihood under softmax(logits / T + bias).

    Bias-corrected temperature scaling (Alexandari et al., 2020, arXiv 1901.06852): unlike a temperature it can move
    predictions towards the prior of unequal classes. The loss is convex in 1 / T and the bias. T is clipped to [0.01,
    100], and each bias to [-10, 10] before it is centered, since the best bias of a class without rows is infinite.
    """
    logits = checked_logits(logits)
    rows, classes = logits.shape
    labels = checked_labels(labels, classes, rows)
    observed = np.bincount(labels, minlength=classes) / rows  # share of each class
    right = of_label(logits, labels).mean()

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(logits * parameters[0] + parameters[1:], axis=-1)
        p = np.exp(logs)
        value = -of_label(logs, labels).mean()
        return value, np.concatenate([[(p * logits).sum(-1).mean() - right], p.mean(0) - observed])

    start = np.concatenate([[1 / temperature(logits, labels)], np.zeros(classes)])
    bounds = [(1 / HOTTEST, 1 / COLDEST), *[(-LARGEST_BIAS, LARGEST_BIAS)] * classes]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-8}).x
    return float(1 / found[0]), found[1:] - found[1:].mean()


def _succession_temperature(logits: np.ndarray, coldest: float = COLDEST) -> float:
    """Return the T at which the mean probability of the predictions is (n + 1) / (n + 2), at least ``coldest``.

    By Laplace's rule of succession that is the probability of another correct prediction after n correct ones.

    Args:
        logits: (n, K).
        coldest: a temperature at which the mean is evaluated first.
    """
    limit = (len(logits) + 1) / (len(logits) + 2)

    def excess(inverse: float) -> float:
        return float(np.exp(log_softmax(logits * inverse, axis=-1).max(-1)).mean() - limit)

    if excess(1 / coldest) <= 0:
        return coldest
    if excess(1 / HOTTEST) >= 0:
        return HOTTEST
    return 1 / brentq(excess, 1 / HOTTEST, 1 / coldest, xtol=1e-9)


def calibrated(
    logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, bias: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the logits of each fold by the temperature fitted to the other folds.

    If the other folds have no errors, their best temperature is 0, and an error of this fold costs any number of bits.
    So the temperature is at least the one at which the mean probability of the predictions is (m + 1) / (m + 2) for the
    m rows of the other folds, by the rule of succession.

    Args:
        logits: (n, K) out-of-fold logits.
        labels: (n,) class ids.
        folds: (n,) fold numbers; with a single fold the temperature is fitted to the rows themselves.
        bias: fit a bias for each class as well, and add it, see :func:`temperature_and_bias`.

    Returns:
        The scaled logits (n, K), and the temperatures in ascending order of the folds.

    Raises:
        UserError: shapes do not fit, or a logit or label is out of range.
    """
    logits, folds = checked_logits(logits), np.asarray(folds)
    labels = checked_labels(labels, logits.shape[-1], logits.shape[-2])
    check(folds.shape == labels.shape, f"folds: {len(folds)} rows, but the predictions have {len(labels)}")
    names = np.unique(folds)
    scaled, found = logits.copy(), []
    for name in names:
        others = folds != name if len(names) > 1 else np.ones(len(folds), bool)
        fit = temperature_and_bias if bias else lambda z, y: (temperature(z, y), 0.0)
        divisor, added = fit(logits[others], labels[others])
        moved = logits + added * divisor  # the bias belongs to the predictions whose mean probability is bounded
        divisor = max(divisor, _succession_temperature(moved[others], divisor))
        found.append(divisor)
        scaled[folds == name] = moved[folds == name] / divisor
    return scaled, np.array(found)


# Regression


def gaussian_pvi(
    predictions: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the PVI of a regression, (n,) bits, and the negative log2 density without the input, ``H_yb`` (n,).

    V is the family of normal distributions of constant variance: PVI = log2 N(y; f(x), s^2) - log2 N(y; mean, s0^2).
    If f is unbiased, the in-sample mean of PVI is -1/2 log2(1 - R^2).

    Args:
        predictions: (n,) out-of-fold predictions.
        targets: (n,) scores.
        folds: (n,) fold numbers; mean, s and s0 of a fold are estimated on the other folds. None: on all rows.

    Raises:
        UserError: shapes differ, a value is not finite, or all targets are equal.
    """
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    check(predictions.shape == targets.shape and targets.ndim == 1,
          f"predictions: {predictions.shape}, but the targets have {targets.shape}")  # fmt: skip
    check(np.isfinite(predictions).all() and np.isfinite(targets).all(), "predictions: a value is NaN or infinite")
    folds = np.zeros(len(targets), int) if folds is None else np.asarray(folds)
    names = np.unique(folds)
    with_input, without = np.empty(len(targets)), np.empty(len(targets))
    for name in names:
        own = folds == name
        others = ~own if len(names) > 1 else own
        mean = targets[others].mean()
        variances = ((targets - predictions)[others] ** 2).mean(), targets[others].var()
        check(min(variances) > 0, "targets: all the same, or predicted exactly; a density has no bits then")
        with_input[own] = _normal_bits(targets[own] - predictions[own], variances[0])
        without[own] = _normal_bits(targets[own] - mean, variances[1])
    return without - with_input, without


def _normal_bits(deviations: np.ndarray, variance: float) -> np.ndarray:
    return (0.5 * np.log(2 * np.pi * variance) + deviations**2 / (2 * variance)) / np.log(2)


# Stability


def shared_lowest(values: np.ndarray, share: float = 0.01) -> float:
    """Return the overlap of the rows with the lowest values under two seeds, 0 to 1, averaged over pairs of seeds.

    Args:
        values: (S, n) PVI, S at least 2.
        share: fraction of the rows that counts as lowest; at least one row does.

    Raises:
        UserError: there is only one seed.
    """
    values = np.asarray(values)
    check(values.ndim == 2 and len(values) > 1, "the stability of a list needs two seeds or more")
    count = max(1, round(share * values.shape[1]))
    lowest = [set(np.argsort(row, kind="stable")[:count].tolist()) for row in values]
    pairs = [(a, b) for a in range(len(lowest)) for b in range(a)]
    return float(np.mean([len(lowest[a] & lowest[b]) / count for a, b in pairs]))
