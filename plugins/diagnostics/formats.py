"""Predictions in third-party formats: kawine's PVI tables, allenai's training dynamics, and arrays in ``.npz``."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from plugins import numpy_files
from plugins.data.text.records import BadRow, json_records
from plugins.data.text.tables import table_rows
from plugins.errors import UserError, check, shown
from plugins.files import make_folder, replacing, write_text

EPOCH_FILE = re.compile(r"dynamics_epoch_(\d+)\.jsonl")


@dataclass(frozen=True)
class Predictions:
    """Predictions of any models on n rows.

    Attributes:
        logits: (S, n, K) for S seeds; None for a table of PVI.
        labels: (n,) class ids.
        classes: K class names.
        index: n names of the rows.
        folds: (n,) fold numbers; None if the models were trained on other data.
        null_log2: (n, K) log2 probabilities without the input, or None.
        texts: text columns, if the file has any.
        bits: ``H_yb`` and ``H_yx`` (2, n), only for a table of PVI.
        correct: (n,) bool, only for a table of PVI.
    """

    logits: np.ndarray | None
    labels: np.ndarray
    classes: list[str]
    index: list[str]
    folds: np.ndarray | None = None
    null_log2: np.ndarray | None = None
    texts: dict[str, list[str]] | None = None
    bits: np.ndarray | None = None
    correct: np.ndarray | None = None


def read(path: str | Path, kind: str = "probabilities") -> Predictions:
    """Read predictions: ``.npz``, a CSV with the columns of kawine's tables, or a folder of allenai's dynamics.

    Args:
        path: path of the file or folder.
        kind: content of an ``.npz`` without array names: ``probabilities`` or ``logits``.

    Raises:
        UserError: the file cannot be read, or is incomplete.
    """
    path = Path(path)
    if path.is_dir():
        logits, labels, index = read_dynamics(path)
        return Predictions(logits[-1][None], labels, [str(k) for k in range(logits.shape[2])], index)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix.lower() == ".npz":
        return read_npz(path, kind)
    return read_pvi(path)


# .npz


def write_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays, atomically; errors as :func:`plugins.files.replacing`."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **cast(dict[str, Any], arrays))


def read_npz(path: Path, kind: str = "probabilities") -> Predictions:
    """Read ``probs``, ``probabilities`` or ``logits`` (S, n, K) or (n, K), ``labels`` (n,), and, if present,
    ``classes`` (K,), ``index``, ``folds`` and ``null_log2`` (K,) or (n, K). ``labels`` are ids or names of classes.

    Raises:
        UserError: the file is damaged or lacks an array, an array is of another kind, or the numbers of rows differ.
    """
    arrays = numpy_files.read_npz(path)
    known = {"probabilities": ("probabilities", "probs", "pred_probs"), "logits": ("logits",)}
    found = [(k, name) for k, group in known.items() for name in group if name in arrays]
    check(found, f"{path}: no array 'probabilities' or 'logits'; there are {', '.join(arrays) or 'none'}")
    kind, name = next((pair for pair in found if pair[0] == kind), found[0])
    check("labels" in arrays, f"{path}: no array 'labels'")
    values = arrays[name]
    values = values[None] if values.ndim == 2 else values
    check(values.ndim == 3 and values.size and np.issubdtype(values.dtype, np.number),
          f"{path}: {name}: (seeds, rows, classes) or (rows, classes) is expected, not {values.shape}")  # fmt: skip
    rows, classes = values.shape[1:]
    for other in ("labels", "index", "folds"):
        check(
            other not in arrays or arrays[other].shape == (rows,),
            f"{path}: {other}: the shape ({rows},) is expected, as {name} has {rows} rows",
        )
    check("classes" not in arrays or arrays["classes"].shape == (classes,), f"{path}: classes: {classes} are expected")
    names = [str(c) for c in arrays.get("classes", np.arange(classes))]
    check(len(set(names)) == classes, f"{path}: classes: a name occurs twice")
    labels, row_folds, null = arrays["labels"], arrays.get("folds"), arrays.get("null_log2")
    if labels.dtype.kind == "U":
        check("classes" in arrays, f"{path}: labels are names; class ids are expected, or the names as 'classes'")
        ids = {name: i for i, name in enumerate(names)}
        unknown = next((label for label in labels.tolist() if label not in ids), None)
        check(unknown is None, f"{path}: labels: {shown(unknown)} is none of the classes")
        labels = np.array([ids[label] for label in labels.tolist()])
    check(row_folds is None or row_folds.dtype.kind in "biu", f"{path}: folds: whole numbers are expected")
    if null is not None:
        good = null.dtype.kind in "iuf" and null.shape in ((classes,), (rows, classes)) and np.isfinite(null).all()
        check(good, f"{path}: null_log2: finite numbers are expected, ({classes},) or ({rows}, {classes})")
        null = np.broadcast_to(null, (rows, classes))
    index = [str(i) for i in arrays.get("index", np.arange(rows))]
    logits = as_logits(values, path) if kind == "probabilities" else values
    return Predictions(logits, labels, names, index, None if row_folds is None else row_folds.astype(np.int64), null)


def as_logits(probabilities: np.ndarray, source: str | Path) -> np.ndarray:
    """Return the natural logarithms of probabilities; a probability of 0 becomes the smallest positive one.

    Raises:
        UserError: a value is not a probability, or a row does not sum to 1.
    """
    p = np.asarray(probabilities, np.float64)
    good = np.isfinite(p).all() and (p >= 0).all() and (np.abs(p.sum(-1) - 1) < 0.01).all()
    check(good, f"{source}: not probabilities (NaN, below 0, or rows that do not sum to 1); give --logits")
    return np.log(np.maximum(p, np.finfo(np.float32).tiny))


# kawine/dataset_difficulty


def read_pvi(path: Path) -> Predictions:
    """Read a table with the columns ``H_yb``, ``H_yx``, ``label`` and, if present, texts and predictions.

    Raises:
        UserError: a column is missing, or a value is not a number.
    """
    rows = table_rows(path)
    header = next(rows, (0, []))[1]
    check(len(set(header)) == len(header), f"{path}:1: a column name occurs twice in the header")
    for name in ("H_yb", "H_yx", "label"):
        check(name in header, f"{path}:1: no column {name!r}; the file is not a table of PVI; give one, or an .npz")
    columns: dict[str, list[str]] = {name: [] for name in header}
    bits = []
    for line, cells in rows:
        check(len(cells) == len(header), f"{path}:{line}: {len(cells)} columns, {len(header)} expected")
        row = dict(zip(header, cells, strict=True))
        try:
            bits.append((float(row["H_yb"]), float(row["H_yx"])))
        except ValueError:
            bits.append((np.nan, np.nan))
        check(np.isfinite(bits[-1]).all(), f"{path}:{line}: H_yb or H_yx is not a finite number")
        for name, cell in row.items():
            columns[name].append(cell)
    check(bits, f"{path}: no rows")
    classes = sorted(set(columns["label"]))
    labels = np.array([classes.index(label) for label in columns["label"]])
    correct = columns.get("correct_yx")
    return Predictions(
        None, labels, classes, columns.get("idx") or [str(i) for i in range(len(bits))],
        texts={name: columns[name] for name in ("sentence1", "sentence2") if name in columns},
        bits=np.array(bits).T,
        correct=None if correct is None else np.array([cell.lower() in ("true", "1", "1.0") for cell in correct]),
    )  # fmt: skip


# allenai/cartography


def read_dynamics(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return logits (E, n, K), labels (n,) and row names from the files ``dynamics_epoch_E.jsonl`` in a folder.

    The first epoch determines the rows and their order; rows of later epochs are matched by name.

    Raises:
        UserError: the files are missing, a line is malformed, an epoch lacks a row, or a row's class changes.
    """
    inner = folder / "training_dynamics"
    folder = inner if inner.is_dir() else folder
    named = ((EPOCH_FILE.fullmatch(path.name), path) for path in folder.glob("dynamics_epoch_*.jsonl"))
    files = {int(match[1]): path for match, path in named if match}
    check(files, f"{folder}: no files dynamics_epoch_0.jsonl and so on")
    epochs, labels = [], []
    place: dict[str, int] = {}
    for number, (epoch, path) in enumerate(sorted(files.items())):
        values: list = [None] * len(place)
        for line, row in json_records(path):
            try:
                if isinstance(row, BadRow):
                    raise row
                name, logits, gold = str(row["guid"]), row[f"logits_epoch_{epoch}"], int(row["gold"])
                if not isinstance(logits, list) or gold != float(row["gold"]):
                    raise ValueError("a list of numbers and a whole number")
                logits = [float(x) for x in logits]
            except (BadRow, KeyError, TypeError, ValueError, OverflowError) as error:
                raise UserError(f"{path}:{line}: guid, logits_epoch_{epoch} and gold are expected ({error})") from None
            if number == 0:
                check(name not in place, f"{path}:{line}: the row {name} occurs twice")
                place[name] = len(place)
                labels.append(gold)
                values.append(logits)
            else:
                check(name in place, f"{path}:{line}: the row {name} is not in the first epoch")
                check(values[place[name]] is None, f"{path}:{line}: the row {name} occurs twice")
                check(gold == labels[place[name]], f"{path}:{line}: gold of the row {name} was another before")
                values[place[name]] = logits
        check(None not in values and len({len(v) for v in values}) == 1,
              f"{path}: a row of the first epoch is missing, or rows differ in their number of logits")  # fmt: skip
        epochs.append(values)
    check(len({len(values[0]) for values in epochs}) == 1, f"{folder}: epochs differ in their number of logits")
    return np.array(epochs), np.array(labels), list(place)


def write_dynamics(
    folder: str | Path, logits: Sequence[np.ndarray], labels: np.ndarray, index: Sequence[str], metrics: dict
) -> None:
    """Write ``dynamics_epoch_E.jsonl`` and ``td_metrics.jsonl`` in the format of allenai/cartography.

    Args:
        folder: output folder.
        logits: (n, K) for each epoch; rows of NaN are omitted.
        labels: (n,) class ids.
        index: names of the rows.
        metrics: returned by :func:`.dynamics.data_map`.
    """
    make_folder(folder)
    for epoch, values in enumerate(logits):
        rows = np.flatnonzero(~np.isnan(values[:, 0])).tolist()
        key = f"logits_epoch_{epoch}"
        lines = (
            json.dumps({"guid": index[i], key: [float(x) for x in values[i]], "gold": int(labels[i])}) for i in rows
        )
        write_text(Path(folder, f"dynamics_epoch_{epoch}.jsonl"), "".join(line + "\n" for line in lines))
    names = ("index", "threshold_closeness", "confidence", "variability", "correctness", "forgetfulness")
    order = np.argsort(metrics["confidence"], kind="stable").tolist()  # theirs is sorted by the chosen metric
    rows = ({name: index[i] if name == "index" else float(metrics[name][i]) for name in names}
            | {"guid": index[i]} for i in order if np.isfinite(metrics["confidence"][i]))  # fmt: skip
    write_text(Path(folder, "td_metrics.jsonl"), "".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path: str | Path, columns: dict[str, Sequence]) -> None:
    """Write columns of equal length, floats with eight significant digits, atomically."""
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{x:.8g}" if isinstance(x, float | np.floating) else x for x in row])
