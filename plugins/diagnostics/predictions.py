"""Validate predictions and labels, and convert logits to log-probabilities."""

import numpy as np
from scipy.special import log_softmax

from plugins.errors import check

TOLERANCE = 1e-3  # allowed deviation of a row's sum from 1, large enough for float16 files


def checked_labels(labels: np.ndarray, num_classes: int, rows: int | None = None) -> np.ndarray:
    """Return labels as (n,) int64.

    Args:
        labels: (n,) class ids.
        num_classes: K.
        rows: expected n, if known.

    Raises:
        UserError: a label is not one of 0 ... K - 1, or the number of labels differs from ``rows``.
    """
    labels = np.asarray(labels)
    check(labels.ndim == 1 and len(labels) > 0, f"labels: expected one class id per row, not the shape {labels.shape}")
    check(rows is None or len(labels) == rows, f"labels: {len(labels)} rows, but the predictions have {rows}")
    whole = labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and (labels == np.floor(labels)).all())
    check(whole, "labels: class ids must be whole numbers")
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    check(not len(bad), f"labels: row {bad[:1].tolist()} is {labels[bad[:1]].tolist()}; {num_classes} classes have the "
          f"ids 0 to {num_classes - 1}")  # fmt: skip
    return labels.astype(np.int64)


def checked_logits(logits: np.ndarray) -> np.ndarray:
    """Return logits as (..., n, K) float64.

    Raises:
        UserError: there are fewer than two classes or no rows, or a logit is NaN, infinite or beyond float32.
    """
    logits = np.asarray(logits)
    check(logits.ndim >= 2 and logits.shape[-1] > 1 and logits.shape[-2] > 0,
          f"logits: rows of at least two classes are expected, not the shape {logits.shape}")  # fmt: skip
    logits = logits.astype(np.float64)
    bad = np.argwhere(~(np.abs(logits) <= np.finfo(np.float32).max))
    check(not len(bad), f"logits: row {bad[0][-2] if len(bad) else 0} has a value that is NaN, infinite or too large")
    return logits


def checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities as (n, K) float64.

    Raises:
        UserError: the shape is wrong, a value is NaN or outside [0, 1], or a row does not sum to 1 within 0.001.
    """
    found = np.asarray(probabilities)
    check(found.ndim == 2 and found.shape[1] > 1 and len(found) > 0,
          f"probabilities: rows of at least two classes are expected, not the shape {found.shape}")  # fmt: skip
    found = found.astype(np.float64)
    bad = np.flatnonzero(~((found >= 0) & (found <= 1)).all(1))  # NaN is not between 0 and 1 either
    check(not len(bad), f"probabilities: row {bad[0] if len(bad) else 0} has a value that is NaN or not from 0 to 1")
    bad = np.flatnonzero(np.abs(found.sum(1) - 1) > TOLERANCE)
    check(not len(bad), f"probabilities: row {bad[0] if len(bad) else 0} does not sum to 1; are these logits?")
    return found


def log2_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the base-2 logarithm of the softmax over the last axis, in float64 and finite for finite logits."""
    return log_softmax(checked_logits(logits), axis=-1) / np.log(2)


def of_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the values (..., n, K) of each row's label, (..., n)."""
    return np.take_along_axis(values, np.broadcast_to(labels[:, None], (*values.shape[:-1], 1)), -1)[..., 0]


def best_other(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest value among the classes other than each row's label, and its class, (..., n) each.

    Args:
        values: (..., n, K) logits or probabilities.
        labels: (n,) class ids.
    """
    others = np.array(values, np.float64)
    np.put_along_axis(others, np.broadcast_to(labels[:, None], (*others.shape[:-1], 1)), -np.inf, -1)
    best = others.argmax(-1)  # (..., n)
    return np.take_along_axis(others, best[..., None], -1)[..., 0], best
