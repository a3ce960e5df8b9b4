"""Data maps from training logits: which rows are easy, ambiguous or hard to learn.

Swayamdipta et al., 2020, "Dataset Cartography" (arXiv 2009.10795): confidence, variability, correctness; Toneva et
al., 2019 (arXiv 1812.05159): forgetting; Pleiss et al., 2020 (arXiv 2001.10528): area under the margin (AUM); Paul et
al., 2021 (arXiv 2107.07075): EL2N.

Shapes: E epochs, n rows, K classes.
"""

import numpy as np
from scipy.special import softmax

from plugins.errors import check

from .predictions import best_other, checked_labels, checked_logits, of_label

NEVER_LEARNED = 1000  # forgetfulness of a row that was never predicted correctly, as in allenai/cartography
COLUMNS = ("confidence", "variability", "correctness", "forgetfulness", "threshold_closeness", "aum", "el2n",
           "never_learned")  # fmt: skip


def data_map(logits: np.ndarray, labels: np.ndarray, epochs: int | None = None) -> dict[str, np.ndarray]:
    """Return the training dynamics of each row, (n,) arrays by name.

    Args:
        logits: (E, n, K) logits after each epoch.
        labels: (n,) given class ids.
        epochs: use only the first epochs, this many (allenai's ``--burn_out``).

    Returns:
        ``confidence``, mean probability of the label; ``variability``, its population standard deviation;
        ``correctness``, number of epochs with the label as the most probable class; ``forgetfulness``, number of
        changes from a correct to a wrong prediction, 1000 for rows never predicted correctly (``never_learned``);
        ``threshold_closeness``, confidence times its complement; ``aum``, mean of the label's logit minus the largest
        other logit; ``el2n``, mean Euclidean distance between the probabilities and the one-hot label.

    Raises:
        UserError: shapes do not match, a label is out of range, or a logit is NaN or infinite.
    """
    logits = checked_logits(logits)[:epochs]
    labels = checked_labels(labels, logits.shape[-1], logits.shape[-2])
    probabilities = softmax(logits, axis=-1)
    own = of_label(probabilities, labels)  # (E, n)
    right = probabilities.argmax(-1) == labels
    never = ~right.any(0)
    confidence = own.mean(0)
    return {
        "confidence": confidence,
        "variability": own.std(0),
        "correctness": right.sum(0),
        "forgetfulness": np.where(never, NEVER_LEARNED, (right[:-1] & ~right[1:]).sum(0)),
        "threshold_closeness": confidence * (1 - confidence),
        "aum": (of_label(logits, labels) - best_other(logits, labels)[0]).mean(0),
        "el2n": el2n(logits, labels).mean(0),
        "never_learned": never,
    }


def el2n(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances between probabilities and one-hot labels, (..., n), from logits (..., n, K)."""
    errors = softmax(np.asarray(logits, np.float64), axis=-1)
    errors = errors - np.eye(errors.shape[-1])[labels]
    return np.sqrt((errors**2).sum(-1))


# Threshold samples: which AUM is too low for a right label (Pleiss et al., 2020, section 4)


def threshold_rows(rows: int, num_classes: int, seed: int = 1) -> np.ndarray:
    """Return the numbers of the rows to train on with an extra class, whose labels are wrong by construction.

    A model with K + 1 outputs is trained on ``labels`` with ``labels[threshold_rows(n, K)] = K``. The other rows are
    then judged by :func:`below_threshold`; to judge these too, train again with other rows (another seed).

    Args:
        rows: n.
        num_classes: K, without the extra class.
        seed: random seed of the choice.

    Returns:
        n // (K + 1) numbers in ascending order, so that the extra class is as large as an average one.

    Raises:
        UserError: too few rows for one such row.
    """
    count = rows // (num_classes + 1)
    check(count > 0, f"{rows} rows: an extra class next to {num_classes} needs at least {num_classes + 1}")
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def below_threshold(aum: np.ndarray, threshold: np.ndarray, percentile: float = 99.0) -> np.ndarray:
    """Return which rows have a margin that is typical of wrong labels, (n,) bool.

    Args:
        aum: (n,) from :func:`data_map` of the model with the extra class, for the labels that it was trained on.
        threshold: numbers of the rows with the extra class, from :func:`threshold_rows`. They are not judged: False.
        percentile: of the AUM of these rows, below which other rows are flagged.

    Raises:
        UserError: no threshold rows, or one out of range; an AUM that is NaN; or a percentile out of range.
    """
    aum, threshold = np.asarray(aum, np.float64), np.asarray(threshold)
    check(aum.ndim == 1 and not np.isnan(aum).any(), "aum: one number per row is expected, without NaN")
    good = threshold.ndim == 1 and np.issubdtype(threshold.dtype, np.integer) and len(threshold) > 0
    check(good and threshold.min() >= 0 and threshold.max() < len(aum), f"threshold: numbers of rows, 0 to "
          f"{len(aum) - 1}, are expected, at least one")  # fmt: skip
    check(0 <= percentile <= 100, f"percentile {percentile:g}: from 0 to 100 is expected")
    flagged = aum < np.percentile(aum[threshold], percentile)
    flagged[threshold] = False
    return flagged


def averaged(maps: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the mean of several maps of the same rows, ignoring NaN (rows that a map does not cover).

    ``confidence_spread`` is the standard deviation of the confidence over the maps. Rows without any map are NaN.
    """
    with np.errstate(invalid="ignore"):
        found = {}
        for name in maps[0]:
            values = np.stack([np.asarray(one[name], np.float64) for one in maps])
            counts = (~np.isnan(values)).sum(0)
            found[name] = np.where(counts, np.nansum(values, 0) / np.maximum(counts, 1), np.nan)
        values = np.stack([one["confidence"] for one in maps])
        counts = np.maximum((~np.isnan(values)).sum(0), 1)
        found["confidence_spread"] = np.sqrt(np.nansum((values - found["confidence"]) ** 2, 0) / counts)
    return found
