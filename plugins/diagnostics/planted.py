"""Data sets with planted label errors and the predictions of models trained on them; reading and writing.

Shapes: P plantings, n rows, S seeds, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins import numpy_files
from plugins.errors import UserError, check

from . import formats


@dataclass(frozen=True)
class Planting:
    """Labels with planted errors.

    Attributes:
        kind: kind of noise, see :func:`.planting.plant`.
        rate: noise rate.
        number: random seed.
        given: (n,) class ids with errors.
    """

    kind: str
    rate: float
    number: int
    given: np.ndarray

    @property
    def name(self) -> str:
        """Kind, rate and number of the planting, for example ``pair-0.1-1``."""
        return f"{self.kind}-{self.rate:g}-{self.number}"


@dataclass(frozen=True)
class Planted:
    """Several plantings of the same rows.

    Attributes:
        labels: (n,) correct class ids.
        classes: K class names.
        folds: (n,) fold numbers.
        plantings: P sequences of labels with errors.
        logits: P arrays (S, n, K) of out-of-fold logits.
    """

    labels: np.ndarray
    classes: list[str]
    folds: np.ndarray
    plantings: Sequence[Planting]
    logits: Sequence[np.ndarray]


def write(path: str | Path, found: Planted) -> None:
    """Write an ``.npz``, atomically, without pickles."""
    formats.write_npz(path, {
        "labels": found.labels, "classes": np.array(found.classes, str), "folds": found.folds,
        "kind": np.array([one.kind for one in found.plantings], str),
        "rate": np.array([one.rate for one in found.plantings]),
        "number": np.array([one.number for one in found.plantings]),
        "given": np.stack([one.given for one in found.plantings]).astype(np.int16),
        "logits": np.stack(found.logits).astype(np.float32),
    })  # fmt: skip


def read(paths: Sequence[str | Path]) -> Planted:
    """Read and concatenate files written by :func:`write`.

    Raises:
        UserError: a file is damaged, lacks an array, has mismatched shapes, or has other rows than the first file.
    """
    parts = [_read(Path(path)) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        same = first.classes == part.classes and np.array_equal(first.labels, part.labels)
        check(same, f"{path}: other rows or classes than {paths[0]}")
        check(np.array_equal(first.folds, part.folds), f"{path}: other folds than {paths[0]}")
    plantings = [one for part in parts for one in part.plantings]
    check(len({one.name for one in plantings}) == len(plantings), f"{paths[-1]}: has a planting of another file")
    logits = [values for part in parts for values in part.logits]
    return Planted(first.labels, first.classes, first.folds, plantings, logits)


def _read(path: Path) -> Planted:
    arrays = numpy_files.read_npz(path)
    names = ("labels", "classes", "folds", "kind", "rate", "number", "given", "logits")
    missing = [name for name in names if name not in arrays]
    check(not missing, f"{path}: no array {', '.join(missing)}; the file is not one of planted labels")
    labels, classes, folds, kind, rate, number, given, logits = (arrays[name] for name in names)
    check(labels.ndim == 1 and logits.ndim == 4, f"{path}: labels (n,) and logits (P, S, n, K) are expected")
    count, _, rows, width = logits.shape
    shapes = {"labels": (rows,), "classes": (width,), "folds": (rows,), "given": (count, rows)}
    shapes |= dict.fromkeys(("kind", "rate", "number"), (count,))
    for name, shape in shapes.items():
        check(arrays[name].shape == shape, f"{path}: {name}: the shape {shape} is expected, not {arrays[name].shape}")
    check(min(logits.shape) > 0, f"{path}: no plantings or rows")
    numeric = all(np.issubdtype(a.dtype, np.number) for a in (labels, folds, rate, number, given, logits))
    check(numeric and np.isfinite(logits).all(), f"{path}: a value is NaN, infinite or not a number")
    good = np.isin(labels, np.arange(width)).all() and np.isin(given, np.arange(width)).all()
    check(good, f"{path}: a label is not a class id from 0 to {width - 1}")
    try:
        plantings = [Planting(str(k), float(r), int(m), g.astype(np.int64))
                     for k, r, m, g in zip(kind, rate, number, given, strict=True)]  # fmt: skip
    except (ValueError, OverflowError):
        raise UserError(f"{path}: rate or number: not a number") from None
    return Planted(labels.astype(np.int64), [str(c) for c in classes], folds, plantings, list(logits))
