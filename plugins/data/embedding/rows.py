"""Read the rows of an embedding task: TSV, CSV, JSON lines, or a folder with a text file for each class."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.data.embedding import specs
from plugins.data.embedding.specs import RowSpec
from plugins.data.embedding.vectors import LARGEST
from plugins.data.text.records import BadRow, check_plain, is_json, json_records, string_under, usable_rows
from plugins.data.text.tables import check_delimiter, table_rows
from plugins.errors import UserError
from plugins.files import check_regular, opened

HELD_OUT = 0.1  # share of each class's file, taken from its end as the validation split


@dataclass(frozen=True)
class TextRows:
    """One split.

    Attributes:
        texts: a list of N texts for each of K columns.
        labels: (N,) class ids (int64), scores or margins (float64); None where there are none.
        names: names of the classes, in the order of their ids.
        index: N names of the rows: their line in the file, or FILE:PASSAGE.
        skipped: how many bad rows were left out.
    """

    texts: list
    labels: np.ndarray | None
    names: list
    index: list
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.index)


def is_folder_of_texts(data: str) -> bool:
    """Return whether a folder contains ``CLASS.txt`` files."""
    return Path(data).is_dir() and any(Path(data).glob("*.txt"))


def locate(data: str, spec: RowSpec, split: str) -> Path:
    """Return the file of a split, in the data folder or in the task's folder inside it.

    Raises:
        UserError: no such file, or the task has no such split.
    """
    if split not in spec.files:
        raise UserError(f"{spec.name} has no split {split!r}; there are {', '.join(spec.files)}")
    candidates = [Path(data, folder, spec.files[split]) for folder in spec.folders] + [Path(data, spec.files[split])]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(f"{candidates[-1]}: no such file; the data folder must contain {spec.name}'s {split} split")


def load(data: str, spec: RowSpec, split: str, words: int = 32, skip_bad_rows: bool = False) -> TextRows:
    """Read a split of a data folder.

    Args:
        words: words of the passages into which a folder's ``CLASS.txt`` files are cut.

    Raises:
        UserError: as :func:`read` and :func:`read_folder`.
    """
    if spec.name == specs.FOLDER and not spec.files:
        return read_folder(data, split, words)
    return read(locate(data, spec, split), spec, split, skip_bad_rows)


# Tables


def read(path: str | Path, spec: RowSpec, split: str = "train", skip_bad_rows: bool = False) -> TextRows:
    """Read a file.

    Args:
        path: ``.csv`` (with quoting), ``.jsonl``, or else TSV, in which a ``"`` is text.
        split: whose header ``spec.headless`` may give.
        skip_bad_rows: leave out what is an error otherwise, and count it.

    Raises:
        UserError: a row is bad, a column is missing, or there are no rows.
    """
    path = Path(path)
    bad: list[tuple[int, str]] = []

    def parse(row: dict, line: int, number: int) -> tuple:
        label = _label(row.get(spec.label), spec) if spec.label else None
        return [_text(row, name) for name in spec.text], label, str(line)

    rows = usable_rows(path, _numbered(path, spec, spec.headless.get(split)), parse, bad if skip_bad_rows else None)
    fields, labels, index = (list(column) for column in zip(*rows, strict=True))
    texts = [list(column) for column in zip(*fields, strict=True)]
    return TextRows(texts, *_as_ids(labels, spec), index, len(bad))


def _numbered(path: Path, spec: RowSpec, header: list | None):
    """Yield (line number, {column: value} or BadRow)."""
    check_regular(path)
    if is_json(path):
        yield from json_records(path)
        return
    table, needed = table_rows(path), [*spec.text, *([spec.label] if spec.label else [])]
    if header is None:
        header = next(table, (0, [""]))[1]
        check_delimiter(path, header)
        missing = [name for name in needed if name not in header]
        if missing:
            found = ", ".join(header)[:200]
            raise UserError(f"{path}:1: no column {', '.join(map(repr, missing))} in the header, which has: {found}")
    for line, cells in table:
        fits = len(cells) == len(header)
        yield (
            line,
            dict(zip(header, cells, strict=True))
            if fits
            else BadRow(f"{len(cells)} columns, {len(header)} expected ({', '.join(header)})"),
        )


def _text(row: dict, name: str) -> str:
    if row.get(name) is None or not str(row[name]).strip():
        raise BadRow(f"no text in the column {name!r}")
    return string_under(row, name)


def _label(value, spec: RowSpec):
    """Return a number, or the name of a class."""
    if value is None or value == "":
        raise BadRow(f"no value in the column {spec.label!r}")
    if spec.kind not in (specs.SCORED_PAIRS, specs.MARGINS):
        written = str(value).strip()
        if spec.labels and written not in spec.labels:
            raise BadRow(f"unknown label {written!r}; {spec.name} has {', '.join(spec.labels)}")
        return written
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRow(f"{value!r} in the column {spec.label!r} is not a number") from None
    low, high = spec.scale or (-LARGEST, LARGEST)
    if not (math.isfinite(number) and low <= number <= high):
        raise BadRow(f"{value!r} in the column {spec.label!r} is not between {low:g} and {high:g}")
    return number


def _as_ids(labels: list, spec: RowSpec) -> tuple[np.ndarray | None, list]:
    """Return the labels as an array, and the names of its ids."""
    if not spec.label:
        return None, []
    if spec.kind in (specs.SCORED_PAIRS, specs.MARGINS):
        return np.array(labels, np.float64), []
    names = list(spec.labels) or sorted(set(labels))
    ids = {name: i for i, name in enumerate(names)}
    return np.array([ids[label] for label in labels], np.int64), names


# Folders


def read_folder(data: str, split: str, words: int = 32) -> TextRows:
    """Cut each ``CLASS.txt`` of a folder into passages of consecutive words, the last tenth of each for validation.

    Raises:
        UserError: no such split, fewer than two files, or a file is too short.
    """
    if split not in ("train", "valid"):
        raise UserError(f"{data}: a folder of texts has no split {split!r}; there are train, valid")
    files = sorted(Path(data).glob("*.txt"))
    if len(files) < 2:
        raise UserError(f"{data}: {len(files)} files CLASS.txt; at least two classes are needed")
    texts, labels, index = [], [], []
    for label, path in enumerate(files):
        check_plain(path, "--spec")
        with opened(path) as file:
            found = file.read().split()
        passages = [" ".join(found[i : i + words]) for i in range(0, len(found) - words + 1, words)]
        held_out = int(len(passages) * HELD_OUT)
        if held_out < 2:
            raise UserError(f"{path}: {len(found)} words are too few for passages of {words} words")
        first = len(passages) - held_out
        chosen = range(first) if split == "train" else range(first, len(passages))
        texts += [passages[i] for i in chosen]
        labels += [label] * len(chosen)
        index += [f"{path.stem}:{i}" for i in chosen]
    return TextRows([texts], np.array(labels, np.int64), [path.stem for path in files], index)
