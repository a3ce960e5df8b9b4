"""Rows of GLUE's files and of the user's own: TSV without quoting, CSV with it, JSON lines."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.data.glue.specs import ALIASES, TEST
from plugins.data.text.tables import BadRow, is_json, json_rows, table_rows
from plugins.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """One split.

    Attributes:
        texts: a list of N texts for each column of text.
        labels: (N,) ids (int64) or scores (float64); None where the split is unlabelled.
        index: N names of the rows, as the leaderboard wants them; their place in the file, from 0, where it names none.
        skipped: how many bad rows were left out.
    """

    texts: list
    labels: np.ndarray | None
    index: list
    skipped: int = 0


def locate(data, spec, split):
    """Return the file of a split: in the task's folder inside the GLUE folder, or in the given folder itself.

    Raises:
        UserError: no such file, or the task has no such split.
    """
    if split not in spec.files:
        raise UserError(f"{spec.name} has no split {split!r}; there are {', '.join(spec.files)}")
    name = spec.files[split]
    candidates = [Path(data, folder, name) for folder in spec.folders] + [Path(data, name)]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(f"{candidates[0]}: no such file; the data folder must hold {spec.name}'s {split} split")


def read(path, spec, split, skip_bad_rows=False):
    """Read a split.

    Args:
        path: ``.csv`` (with quoting), ``.jsonl``, or else TSV, in which a ``"`` is text.
        skip_bad_rows: leave out what is an error otherwise, and count it.

    Returns:
        :class:`Examples`. A test split is unlabelled where its labels are missing or none of the task's.

    Raises:
        UserError: a row is bad, a column is missing, or there are no rows.
    """
    path = Path(path)
    rows = numbered_rows(path, spec, split)
    labelled = None if split.startswith(TEST) else True  # None: not known yet
    texts, labels, index, bad = [[] for _ in spec.text], [], [], []
    for number, (line, row) in enumerate(rows):
        try:
            if isinstance(row, BadRow):
                raise row
            fields = [text_of(row, name) for name in spec.text]
            label = label_of(row, spec, labelled)
        except BadRow as error:
            if not skip_bad_rows:
                cure = "mend the row, or leave such rows out: --skip-bad-rows"
                raise UserError(f"{path}:{line}: {error}; {cure}") from None
            bad.append((line, str(error)))
            continue
        for column, field in zip(texts, fields, strict=True):
            column.append(field)
        labels.append(label)
        index.append(str(row.get("index", row.get("id", number))))
    if not index:
        raise UserError(f"{path}: no usable rows")
    if bad:
        logger.warning("%s: %d bad rows left out, the first is line %d: %s", path, len(bad), *bad[0])
    return Examples(texts, as_array(labels, spec), index, len(bad))


def text_of(row, name):
    value = row.get(name)
    if not isinstance(value, str):
        raise BadRow(f"no text in the column {name!r}")
    return value


def label_of(row, spec, labelled):
    """Return the id or score of a row's label; None in a test split without usable ones."""
    try:
        return parse_label(row.get(spec.label), spec)
    except BadRow:
        if labelled:
            raise
        return None


def parse_label(value, spec):
    if value is None or value == "":
        raise BadRow(f"no label in the column {spec.label!r}")
    if spec.is_regression:
        low, high = spec.scale
        try:
            score = float(value)
        except (TypeError, ValueError):
            raise BadRow(f"score {value!r} is not a number") from None
        if not low <= score <= high:
            raise BadRow(f"score {value!r} is not between {low:g} and {high:g}")
        return score
    written = json.dumps(value) if isinstance(value, bool) else str(value).strip()
    if written not in spec.labels:
        raise BadRow(f"unknown label {written!r}; {spec.name} has {', '.join(spec.labels)}")
    return spec.labels.index(written)


def as_array(labels, spec):
    if any(label is None for label in labels):
        return None
    # float64, for half precision turns every float32 tensor of a batch into its own type, and rounds the labels
    return np.array(labels, np.float64 if spec.is_regression else np.int64)


# Rows


def numbered_rows(path, spec, split):
    """Yield (line number, {column: value}, or BadRow) of a file of any kind."""
    if is_json(path):
        yield from json_rows(path)
        return
    header, table = None, table_rows(path)
    if spec.headless and split in spec.headless:
        header = spec.headless[split]
    else:
        header = next(table, (0, [""]))[1]
        header = [ALIASES.get(name.lower(), name) if name not in (*spec.text, spec.label) else name for name in header]
        header = [spec.label if name.lower() == spec.label.lower() else name for name in header]
        check_header(path, header, spec, split)
    for line, cells in table:
        if len(cells) != len(header):
            yield line, BadRow(f"{len(cells)} columns, {len(header)} expected ({', '.join(header)})")
        else:
            yield line, dict(zip(header, cells, strict=True))


def check_header(path, header, spec, split):
    needed = [*spec.text] + ([] if split.startswith(TEST) else [spec.label])
    missing = [name for name in needed if name not in header]
    if missing:
        found = ", ".join(header)[:200]
        raise UserError(f"{path}:1: no column {', '.join(map(repr, missing))} in the header, which has: {found}")
