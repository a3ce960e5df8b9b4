"""Data maps from training logits: which rows are easy, ambiguous or hard to learn.

Swayamdipta et al., 2020, "Dataset Cartography" (arXiv 2009.10795): confidence, variability, correctness; Toneva et
al., 2019 (arXiv 1812.05159): forgetting; Pleiss et al., 2020 (arXiv 2001.10528): area under the margin (AUM); Paul et
al., 2021 (arXiv 2107.07075): EL2N.

Shapes: E epochs, n rows, K classes.
"""

import numpy as np
from scipy.special import softmax

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
