"""Diagnose a data set from the out-of-fold predictions of several seeds.

Shapes: S seeds, n rows, K classes, E epochs, F folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import log_softmax
from scipy.stats import rankdata

from plugins.analysis.metrics.bootstrap import interval
from plugins.errors import check

from . import confident, dynamics, notes, usable_information
from .predictions import checked_labels, checked_logits

HARDEST = 0.01  # fraction of the rows for which stability over seeds is reported


@dataclass(frozen=True)
class Diagnosis:
    """Results of a diagnosis, by row.

    Attributes:
        labels: (n,) class ids, or scores of a regression.
        classes: K class names; empty for a regression.
        folds: (n,) fold numbers.
        groups: (n,) group numbers; duplicates share one.
        h_yb: (n,) surprisal of the label without the input, bits.
        h_yx: (S, n) surprisal of the label given the input, bits.
        pvi, pvi_calibrated: (S, n) bits.
        temperatures: (S, F).
        logits: (S, n, K) uncalibrated; None for a table of bits.
        log_probabilities: (n, K) natural, calibrated and averaged over seeds; None for a regression.
        flags: {filter: (n,) bool}; empty for a regression.
        quality: (n,) normalized margin; None for a regression.
        rank_score: (n,) mean rank of margin and PVI, 0 to 1; labels with the lowest scores are most likely wrong.
        joint: (K, K) calibrated confident joint.
        correct: (S, n) bool, whether the prediction is the label; None for a regression.
        warnings: problems with runs or data that make the results doubtful.
    """

    labels: np.ndarray
    classes: list[str]
    folds: np.ndarray
    groups: np.ndarray
    h_yb: np.ndarray
    h_yx: np.ndarray
    pvi: np.ndarray
    pvi_calibrated: np.ndarray
    temperatures: np.ndarray
    logits: np.ndarray | None
    log_probabilities: np.ndarray | None = None
    flags: dict[str, np.ndarray] = field(default_factory=dict)
    quality: np.ndarray | None = None
    rank_score: np.ndarray | None = None
    joint: np.ndarray | None = None
    correct: np.ndarray | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def predicted(self) -> np.ndarray | None:
        """Most probable class ids (n,), or mean predicted scores; None for a table of bits."""
        if self.log_probabilities is not None:
            return self.log_probabilities.argmax(1)
        return None if self.logits is None else self.logits[..., 0].mean(0)


def prior_by_fold(labels: np.ndarray, row_folds: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the log2 label distribution of the other folds for each row, (n, K)."""
    null = np.empty((len(labels), num_classes))
    names = np.unique(row_folds)
    for name in names:
        own = row_folds == name
        others = labels if len(names) == 1 else labels[~own]
        null[own] = usable_information.prior_log2(others, num_classes)
    return null


def diagnose(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], row_folds: np.ndarray | None = None,
    null_log2: np.ndarray | None = None, groups: np.ndarray | None = None, bias: bool = False,
) -> Diagnosis:  # fmt: skip
    """Diagnose the rows of a classification task from predictions.

    Args:
        logits: (S, n, K) logits of models that were not trained on the row.
        labels: (n,) class ids.
        classes: K class names.
        row_folds: (n,) fold numbers; None: the models were trained on other data.
        null_log2: (n, K) log2 probabilities without the input; None: the label distribution of the other folds.
        groups: (n,) group numbers of duplicates; None: each row is its own group.
        bias: calibrate by a bias for each class as well as a temperature.

    Raises:
        UserError: shapes do not match, a label is out of range, or a logit is NaN or infinite.
    """
    logits = checked_logits(logits)
    check(logits.ndim == 3, f"logits: (seeds, rows, classes) are expected, not the shape {logits.shape}")
    seeds, rows, num_classes = logits.shape
    check(len(classes) == num_classes, f"logits: {num_classes} classes, but {len(classes)} names")
    labels = checked_labels(labels, num_classes, rows)
    if row_folds is not None:
        row_folds = np.asarray(row_folds)
        check(row_folds.shape == (rows,), f"folds: {len(row_folds)} rows, but the predictions have {rows}")
    warnings = notes.on_runs(logits, labels, classes, row_folds)
    row_folds = np.zeros(rows, np.int16) if row_folds is None else row_folds
    groups = np.arange(rows) if groups is None else groups
    null = prior_by_fold(labels, row_folds, num_classes) if null_log2 is None else null_log2
    pairs = [usable_information.calibrated(z, labels, row_folds, bias) for z in logits]
    scaled, temperatures = zip(*pairs, strict=True)
    h_yb, h_yx = usable_information.entropies(logits, labels, null)
    pvi, calibrated = h_yb - h_yx, usable_information.pvi(np.stack(scaled), labels, null)
    log_probabilities = log_softmax(log_softmax(np.stack(scaled), axis=-1).mean(0), axis=-1)
    probabilities = np.exp(log_probabilities)
    margin = confident.scores(probabilities, labels, "normalized_margin")
    warnings += notes.on_bits(pvi, calibrated) + notes.on_share(calibrated, h_yb)
    return Diagnosis(
        labels, list(classes), row_folds, groups, h_yb, h_yx, pvi, calibrated, np.array(temperatures), logits,
        log_probabilities, {name: confident.issues(probabilities, labels, name) for name in confident.FILTERS}, margin,
        ranked_together(margin, calibrated.mean(0)), confident.joint(probabilities, labels, calibrate=True),
        logits.argmax(-1) == labels, warnings,
    )  # fmt: skip


def diagnose_scores(
    predictions: np.ndarray, targets: np.ndarray, row_folds: np.ndarray, groups: np.ndarray | None = None
) -> Diagnosis:
    """Diagnose the rows of a regression from predictions (S, n), with normal distributions.

    The variance is fitted on the other folds, so no further calibration is needed.

    Args:
        predictions: (S, n) out-of-fold predictions.
        targets: (n,) scores.
        row_folds, groups: as in :func:`diagnose`.
    """
    pairs = [usable_information.gaussian_pvi(row, targets, row_folds) for row in predictions]
    bits, without = np.stack([pair[0] for pair in pairs]), pairs[0][1]
    groups = np.arange(len(targets)) if groups is None else groups
    return Diagnosis(
        np.asarray(targets, np.float64), [], row_folds, groups, without, without - bits, bits, bits,
        np.ones((len(predictions), 1)), np.asarray(predictions)[..., None], rank_score=ranked_together(bits.mean(0)),
        warnings=notes.on_bits(bits, bits),
    )  # fmt: skip


def diagnose_bits(
    bits: np.ndarray, labels: np.ndarray, classes: Sequence[str], correct: np.ndarray | None = None
) -> Diagnosis:
    """Diagnose rows from a table of bits (``H_yb`` and ``H_yx``, (2, n)), without calibration.

    Args:
        bits: (2, n).
        labels, classes: as in :func:`diagnose`.
        correct: (n,) bool, whether the prediction is the label; None if unknown.
    """
    pvi, rows = (bits[0] - bits[1])[None], len(labels)
    return Diagnosis(
        labels, list(classes), np.zeros(rows, np.int16), np.arange(rows), bits[0], bits[1][None], pvi, pvi,
        np.ones((1, 1)), None, rank_score=ranked_together(pvi[0]),
        correct=None if correct is None else correct[None],
        warnings=["a table of bits cannot be calibrated, and names no folds", *notes.on_bits(pvi, pvi)],
    )  # fmt: skip


def ranked_together(*scores: np.ndarray) -> np.ndarray:
    """Return the mean normalized rank of several scores, 0 to 1; ties share a rank."""
    return np.mean([rankdata(score) / len(score) for score in scores], axis=0)


# Means with intervals


def measured(d: Diagnosis, rows: np.ndarray | None = None, resamples: int = 1000) -> dict:
    """Return raw and calibrated V with 95 % intervals, entropy and accuracy of all rows or a subset.

    Args:
        d: the diagnosis.
        rows: (n,) bool, the subset; None: all rows.
        resamples: number of resamples of the two-level bootstrap.
    """
    rows = np.ones(len(d.labels), bool) if rows is None else rows
    found: dict = {"rows": int(rows.sum())}
    for name, values in (("V", d.pvi), ("V_calibrated", d.pvi_calibrated)):
        low, high = interval(values[:, rows], d.groups[rows], resamples)
        found |= {name: float(values[:, rows].mean()), f"{name}_interval": [low, high]}
    found["H_yb"], found["H_yx"] = float(d.h_yb[rows].mean()), float(d.h_yx[:, rows].mean())
    found["V_by_seed"] = d.pvi[:, rows].mean(1).tolist()
    found["V_calibrated_by_seed"] = d.pvi_calibrated[:, rows].mean(1).tolist()
    found["negative_share"] = float((d.pvi.mean(0)[rows] < 0).mean())
    if d.classes:
        found["share_of_label_information"] = found["V_calibrated"] / found["H_yb"] if found["H_yb"] > 0 else None
        found["accuracy"] = None if d.correct is None else float(d.correct[:, rows].mean())
    else:
        assert d.logits is not None  # only tables of bits lack logits, and they have classes
        found["rmse"] = float(np.sqrt(((d.logits[..., 0] - d.labels)[:, rows] ** 2).mean()))
    return found


def stability(d: Diagnosis) -> dict | None:
    """Return the overlap of the hardest rows and the correlation of PVI between seeds; None for one seed."""
    if len(d.pvi) < 2:
        return None
    constant = (np.ptp(d.pvi_calibrated, axis=1) == 0).any()  # has no correlation
    correlations = None if constant else np.corrcoef(d.pvi_calibrated)[np.triu_indices(len(d.pvi), 1)]
    return {"hardest_share": HARDEST, "shared": usable_information.shared_lowest(d.pvi_calibrated, HARDEST),
            "correlation": None if correlations is None else float(correlations.mean())}  # fmt: skip


def by_epoch(
    logits: Sequence[np.ndarray], labels: np.ndarray, row_folds: np.ndarray, null_log2: np.ndarray | None = None,
    bias: bool = False,
) -> list[dict]:  # fmt: skip
    """Return raw and calibrated V after each of E epochs, from held-out logits (S, n, K); see :func:`diagnose`."""
    result = []
    for epoch, values in enumerate(logits, start=1):
        null = prior_by_fold(labels, row_folds, values.shape[-1]) if null_log2 is None else null_log2
        pairs = [usable_information.calibrated(z, labels, row_folds, bias) for z in values]
        raw = usable_information.pvi(values, labels, null).mean(1)
        better = usable_information.pvi(np.stack([pair[0] for pair in pairs]), labels, null).mean(1)
        right = (values.argmax(-1) == labels).mean()
        result.append({"epoch": epoch, "V": float(raw.mean()), "V_by_seed": raw.tolist(),
                       "V_calibrated": float(better.mean()), "V_calibrated_by_seed": better.tolist(),
                       "temperature": float(np.mean([pair[1] for pair in pairs])),
                       "accuracy": float(right)})  # fmt: skip
    return result


def training_map(runs: Sequence[Sequence[np.ndarray]], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the data map averaged over runs, each trained on a subset of the rows.

    Args:
        runs: for each run, E arrays (n, K) of logits, NaN for rows outside its training set.
        labels: (n,) given class ids.

    Returns:
        (n,) arrays, see :func:`.dynamics.averaged`.

    Raises:
        UserError: a run has no logits.
    """
    maps = []
    for epochs in runs:
        values = np.stack([np.asarray(epoch, np.float32) for epoch in epochs])  # (E, n, K)
        seen = ~np.asarray(np.isnan(values).any((0, 2)))
        check(seen.any(), "a run recorded no training logits")
        found = dynamics.data_map(values[:, seen], labels[seen])
        maps.append({name: _spread(column, seen) for name, column in found.items()})
    return dynamics.averaged(maps)


def _spread(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    result = np.full(len(seen), np.nan)
    result[seen] = values
    return result
