"""Rows of GLUE's files and of a user's own: TSV without quoting, CSV with it, JSON lines and arrays."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.data.glue.specs import ALIASES, MISMATCHED, TEST, TRAIN, VALID, GlueSpec
from plugins.data.text import columnar
from plugins.data.text.records import BadRow, check_name, is_json, json_records, string_under, usable_rows
from plugins.data.text.tables import check_delimiter, table_rows
from plugins.errors import UserError, shown

HUB_SPLITS = {  # names of the splits in datasets of the Hugging Face Hub
    TRAIN: ("train",),
    VALID: ("validation", "validation_matched", "valid", "dev"),
    TEST: ("test", "test_matched"),
    VALID + MISMATCHED: ("validation_mismatched",),
    TEST + MISMATCHED: ("test_mismatched",),
}
HUB_LABEL, HUB_INDEX = "label", "idx"
INDEX_COLUMNS = ("index", "id")  # the first of these columns that exists contains the row ids


@dataclass(frozen=True)
class Examples:
    """One split.

    Attributes:
        texts: a list of N texts for each column of text.
        labels: (N,) ids (int64) or scores (float64); None where the split is unlabeled.
        index: N names of the rows, as the leaderboard expects them; their place in the file, from 0, where it has none.
        skipped: how many bad rows were left out.
    """

    texts: list[list[str]]
    labels: np.ndarray | None
    index: list[str]
    skipped: int = 0


def locate(data: str | Path, spec: GlueSpec, split: str) -> Path:
    """Return the file of a split: in the task's folder inside the GLUE folder, or in the given folder itself.

    It is the official file, or else that of a dataset of the Hugging Face Hub, see :mod:`plugins.data.text.columnar`.

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
    for folder in (*(Path(data, name) for name in hub_folders(spec)), Path(data)):
        if found := columnar.find(folder, HUB_SPLITS[split]):
            return found
    raise UserError(f"{candidates[0]}: no such file; the data folder must contain {spec.name}'s {split} split")


def hub_folders(spec: GlueSpec) -> list[str]:
    """Return possible names of a task's folder: ours, and those of ``nyu-mll/glue``."""
    names = (*spec.folders, spec.name)
    return list(dict.fromkeys((*names, *(name.lower().replace("-", "") for name in names))))


def read(path: str | Path, spec: GlueSpec, split: str, skip_bad_rows: bool = False) -> Examples:
    """Read a split.

    Args:
        path: ``.csv`` (with quoting), JSON records, Parquet or Arrow, or else TSV, in which a ``"`` is text.
        skip_bad_rows: leave out and count bad rows instead of raising an error.

    Returns:
        :class:`Examples`. A test split is unlabeled if its labels are missing or unknown to the task.

    Raises:
        UserError: a row is bad, a column is missing or ambiguous, or there are no rows.
    """
    path = Path(path)
    labeled = None if split.startswith(TEST) else True  # None: not known yet
    ids = {label: i for i, label in enumerate(spec.labels)}
    bad: list[tuple[int, str]] = []

    def parse(row: dict[str, Any], line: int, number: int) -> tuple[list[str], float | None, str]:
        return [text_of(row, name) for name in spec.text], label_of(row, spec, labeled, ids), name_of(row, number)

    rows = usable_rows(path, numbered_rows(path, spec, split), parse, bad if skip_bad_rows else None)
    fields, labels, index = (list(column) for column in zip(*rows, strict=True))
    texts = [list(column) for column in zip(*fields, strict=True)]
    return Examples(texts, as_array(labels, spec), index, len(bad))


def text_of(row: Mapping[str, Any], name: str) -> str:
    """Return the text in a column of a row.

    Raises:
        BadRow: there is none.
    """
    if row.get(name) is None:
        raise BadRow(f"no text in the column {shown(name)}")
    return string_under(row, name)


def name_of(row: Mapping[str, Any], number: int) -> str:
    """Return the name of a row: its ``index`` or ``id``, else its number.

    Raises:
        BadRow: the name has control characters, or begins like the formula of a spreadsheet.
    """
    name = next((str(row[column]) for column in INDEX_COLUMNS if column in row), str(number))
    check_name(name, "name of the row")
    return name


def label_of(row: Mapping[str, Any], spec: GlueSpec, labeled: bool | None, ids: Mapping[str, int]) -> float | None:
    """Return the id or score of a row's label; None in a test split without usable ones.

    Raises:
        BadRow: there is none, where the split is labeled.
    """
    try:
        return parse_label(row.get(spec.label), spec, ids)
    except BadRow:
        if labeled:
            raise
        return None


def parse_label(value: Any, spec: GlueSpec, ids: Mapping[str, int]) -> float:
    """Return the id of a label, or a score.

    Args:
        ids: id of each label of the task, as it is written.

    Raises:
        BadRow: it is not among them, or not a number on the task's scale.
    """
    if value is None or value == "":
        raise BadRow(f"no label in the column {shown(spec.label)}")
    if spec.is_regression:
        low, high = spec.scale
        try:
            score = float(value)
        except (TypeError, ValueError, OverflowError):
            raise BadRow(f"score {shown(value)} is not a number") from None
        if not low <= score <= high:
            raise BadRow(f"score {shown(value)} is not between {low:g} and {high:g}")
        return score
    written = json.dumps(value) if isinstance(value, bool) else str(value).strip()
    if written not in ids:
        known = ", ".join(spec.labels[:20]) + (", ..." if len(spec.labels) > 20 else "")
        raise BadRow(f"unknown label {shown(written)}; {spec.name} has {known}")
    return ids[written]


def as_array(labels: list[float | None], spec: GlueSpec) -> np.ndarray | None:
    """Return labels as an array (N,), or None if one of them is missing."""
    if any(label is None for label in labels):
        return None
    # float64, because half precision turns every float32 tensor of a batch into its own type, and rounds the labels
    return np.array(labels, np.float64 if spec.is_regression else np.int64)


# Rows


def numbered_rows(path: Path, spec: GlueSpec, split: str) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Yield (line number, {column: value} or BadRow) of a file of any kind.

    Raises:
        UserError: the file cannot be read, or its header lacks a column or has one twice.
    """
    if columnar.is_columnar(path):
        names = columnar.class_names(path)
        yield from ((line, from_hub(row, spec, names)) for line, row in columnar.records(path))
        return
    if is_json(path):
        yield from json_records(path)
        return
    header, table = None, table_rows(path)
    if spec.headless and split in spec.headless:
        header = list(spec.headless[split])
    else:
        header = columns(path, next(table, (0, [""]))[1], spec, split)
    for line, cells in table:
        if len(cells) != len(header):
            yield line, BadRow(f"{len(cells)} columns, {len(header)} expected ({shown(', '.join(header))[1:-1]})")
        else:
            yield line, dict(zip(header, cells, strict=True))


def from_hub(row: Mapping[str, Any], spec: GlueSpec, names: Mapping[str, list[str]]) -> dict[str, Any] | BadRow:
    """Return a row of a dataset with the task's own names for its columns, and its label as the task writes it.

    Args:
        names: {column: names of its classes}; ids without names are those of the task.
    """
    found = dict(row)
    for name, value in row.items():
        wanted = ALIASES.get(name)
        if wanted is not None and wanted in spec.text and wanted not in row:
            found[wanted] = value
    label = spec.label if spec.label in row else HUB_LABEL
    value = row.get(label)
    if isinstance(value, int) and not spec.is_regression:
        classes = names.get(label)
        try:
            found[spec.label] = class_of(value, spec, classes)
        except BadRow as error:
            return error
    elif label in row:
        found[spec.label] = value
    if HUB_INDEX in row and not any(name in row for name in INDEX_COLUMNS):
        found[INDEX_COLUMNS[0]] = row[HUB_INDEX]
    return found


def class_of(value: int, spec: GlueSpec, classes: list[str] | None) -> str | None:
    """Return the label of a class id as the task writes it; None for -1, which marks unlabeled rows.

    Raises:
        BadRow: there is no such class, or the task has none of its name.
    """
    if value == -1:
        return None
    known = list(spec.id2label) if classes is None else classes
    if not 0 <= value < len(known):
        raise BadRow(f"class {value} is beyond the {len(known)} of the column of labels")
    for labels in (spec.labels, spec.names):
        if known[value] in labels:
            return spec.labels[labels.index(known[value])]
    raise BadRow(f"unknown label {shown(known[value])}; {spec.name} has {', '.join(spec.id2label)}")


def columns(path: Path, header: list[str], spec: GlueSpec, split: str) -> list[str]:
    """Return a header with the task's own name for each column that it needs.

    A column with exactly that name takes precedence. Otherwise the alias of a column of text, or the name of the label
    in another case, counts. White space around names is ignored.

    Raises:
        UserError: a column is missing, or two match.
    """
    names = [name.strip() for name in header]
    needed = [*spec.text] + ([] if split.startswith(TEST) else [spec.label])
    missing = []
    for wanted in (*spec.text, spec.label, *INDEX_COLUMNS):
        found = [i for i, name in enumerate(names) if name == wanted]
        if not found and wanted == spec.label:
            found = [i for i, name in enumerate(names) if name.lower() == wanted.lower() and name not in spec.text]
        if not found and wanted in spec.text:
            found = [i for i, name in enumerate(names) if ALIASES.get(name.lower()) == wanted]
        if len(found) > 1:
            raise UserError(
                f"{path}:1: columns {' and '.join(str(i + 1) for i in found)} are both {shown(wanted)}: rename one"
            )
        if found:
            names[found[0]] = wanted
        elif wanted in needed:
            missing.append(wanted)
    if missing:
        check_delimiter(path, header)
        names_there = shown(", ".join(names))[1:-1]
        raise UserError(f"{path}:1: no column {', '.join(map(shown, missing))} in the header, which has: {names_there}")
    return names
