"""Warnings of a diagnosis: runs and models from which it cannot conclude much."""

from collections.abc import Sequence

import numpy as np

from . import folds

COLLAPSED = 0.99  # minimum fraction of identical predictions of a collapsed run
SMALLEST = 20  # rows of a fold in which identical predictions mean anything
LITTLE = 0.05  # fraction of the label information from which on a model's contradictions say something


def on_runs(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], row_folds: np.ndarray | None) -> list[str]:
    """Return warnings about collapsed runs and classes that are too small."""
    notes = []
    counts = np.bincount(labels, minlength=len(classes))
    notes += [f"no row is labeled {classes[k]!r}" for k in np.flatnonzero(counts == 0).tolist()]
    if row_folds is None:
        notes.append("the predictions have no folds; they are invalid if the models were trained on these rows")
        row_folds = np.zeros(len(labels), int)
    else:
        small = folds.small_classes(labels, len(np.unique(row_folds)))
        for k in small:
            alone = len(np.unique(row_folds[labels == k])) == 1
            rest = "all in one fold, whose models never saw it" if alone else "fewer than folds"
            notes.append(f"class {classes[k]!r} has {counts[k]} row{'' if counts[k] == 1 else 's'}, {rest}")
    for seed, answers in enumerate(logits.argmax(-1), start=1):
        for fold in np.unique(row_folds):
            own = answers[row_folds == fold]
            share = np.bincount(own).max() / len(own)
            if share >= COLLAPSED and len(own) >= SMALLEST and counts.max() < COLLAPSED * len(labels):
                notes.append(f"seed number {seed}, fold {fold + 1}: {100 * share:.1f} % of the answers are "
                             f"{classes[int(np.bincount(own).argmax())]!r}; the run collapsed")  # fmt: skip
    return notes


def on_bits(pvi: np.ndarray, calibrated: np.ndarray) -> list[str]:
    """Return warnings about constant PVI, and about models worse than the prediction without the input."""
    notes = []
    for seed, (raw, better) in enumerate(zip(pvi, calibrated, strict=True), start=1):
        if np.ptp(raw) == 0:
            notes.append(f"seed number {seed}: all rows have the same PVI; the model ignores its input")
        elif raw.mean() < 0 < better.mean():
            notes.append(f"seed number {seed}: V is below 0, but {better.mean():.3f} bits calibrated: over-confident")
        elif better.mean() < -0.005:
            notes.append(f"seed number {seed}: the prediction without the input is better than the model")
    return notes


def on_share(calibrated: np.ndarray, without: np.ndarray) -> list[str]:
    """Return a warning about models that have learned little, but not less than nothing.

    Args:
        calibrated: (S, n) PVI in bits.
        without: (n,) bits of the labels without the input.
    """
    share = calibrated.mean() / max(without.mean(), 1e-9)
    if not 0 <= share < LITTLE:
        return []
    return [f"the model has learned {100 * share:.0f} % of the label information, so most labels that it contradicts "
            "are not wrong; train it longer, at a higher learning rate, or take a better one"]  # fmt: skip
