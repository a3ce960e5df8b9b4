"""A fold of the training rows: train on the others, and evaluate on its own as the split ``held_out``."""

import re
from pathlib import Path

import numpy as np

from plugins import numpy_files
from plugins.errors import UserError, check

HELD_OUT = "held_out"


def parse(text: str) -> tuple[int, int]:
    """Return the number of a fold, from 0, and how many there are, of ``K/F`` with K from 1 to F.

    Raises:
        UserError: it is written in another way, or there are fewer than two folds.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None:
        raise UserError(f"--fold {text}: K/F is expected, for example 1/5")
    number, count = int(found[1]), int(found[2])
    check(count >= 2 and 1 <= number <= count, f"--fold {text}: K must be from 1 to F, and F at least 2")
    return number - 1, count


def rows(fold: str, path: str | Path, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training rows, and of the held-out rows.

    Args:
        fold: ``K/F``.
        path: ``.npy`` of ``total`` integers from 0 to F - 1, the fold of each training row; -1: neither train nor
            evaluate on it.
        total: training rows, without those that are left out as bad.

    Raises:
        UserError: the file is missing or damaged, fits another number of rows or folds, or leaves no rows on a side.
    """
    number, count = parse(fold)
    try:
        folds = numpy_files.read_npy(path)
    except UserError as error:
        raise UserError(f"--fold-file {error}") from None
    whole = folds.ndim == 1 and np.issubdtype(folds.dtype, np.integer)
    check(whole, f"--fold-file {path}: one whole number per training row is expected")
    check(len(folds) == total, f"--fold-file {path}: {len(folds)} rows, but there are {total} training rows")
    fits = folds.min(initial=0) >= -1 and folds.max(initial=0) < count
    there = f"{folds.min(initial=0)} to {folds.max(initial=0)}"
    check(fits, f"--fold-file {path}: folds from {there}, but --fold {fold} has 0 to {count - 1}")
    own = folds == number
    others = ~own & (folds >= 0)
    check(own.any() and others.any(), f"--fold {fold}: {own.sum()} of {total} rows are in it; both sides need rows")
    return np.flatnonzero(others), np.flatnonzero(own)
