"""Documents with summaries in files of the user's: CSV with quoting, TSV without, or JSON lines."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plugins.data.text.tables import BadRow, is_csv, is_json, json_rows, table_rows
from plugins.errors import UserError

logger = logging.getLogger(__name__)

DOCUMENT_COLUMNS = ("article", "document", "text")  # cnn_dailymail's name first
SUMMARY_COLUMNS = ("highlights", "summary")
ID_COLUMN = "id"
NAMES = {"train": ("train",), "valid": ("valid", "validation", "dev"), "test": ("test",)}
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Columns:
    """Where documents and summaries stand; None for the first of the usual names that a file has."""

    document: str | None = None
    summary: str | None = None


@dataclass(frozen=True)
class Record:
    """A document, its summary if there is one, its name, and the line where its record begins."""

    line: int
    name: str
    document: str
    summary: str | None


def locate(data: str, split: str) -> Path:
    """Return the file of a split: ``train.csv``, ``validation.jsonl``, ... in a folder, or the file itself.

    Raises:
        UserError: there is none, or more than one.
    """
    path = Path(data)
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    names = [name + suffix for name in NAMES.get(split, (split,)) for suffix in SUFFIXES]
    found = [path / name for name in names if (path / name).is_file()]
    if not found:
        raise UserError(f"{path}: no {split} split here; it would be {', '.join(names[:4])} or the like")
    if len(found) > 1:
        raise UserError(f"{path}: {' and '.join(file.name for file in found)} are both the {split} split; remove one")
    return found[0]


def read(path: Path, columns: Columns = Columns(), summaries: bool = True, skip_bad_rows: bool = False):
    """Yield the records of a file, as they are read.

    Args:
        summaries: whether a record without a summary is an error.
        skip_bad_rows: leave out what is an error otherwise, and log how many they were.

    Yields:
        :class:`Record`.

    Raises:
        UserError: a record is bad, a column is missing, or there are no records.
    """
    used, bad = 0, []
    try:
        for line, row in rows(path, columns, summaries):
            try:
                if isinstance(row, BadRow):
                    raise row
                record = record_of(row, line, columns, summaries, used + len(bad))
            except BadRow as error:
                if not skip_bad_rows:
                    raise UserError(
                        f"{path}:{line}: {error}; mend it, or leave such records out: --skip-bad-rows"
                    ) from None
                bad.append((line, error))
                continue
            used += 1
            yield record
    finally:  # also where no more records are asked for
        if bad:
            logger.warning("%s: %d bad records left out, the first is in line %d: %s", path, len(bad), *bad[0])
    if not used:
        raise UserError(f"{path}: no usable records")


def record_of(row: dict, line: int, columns: Columns, summaries: bool, number: int) -> Record:
    document_column = find(columns.document, DOCUMENT_COLUMNS, row)
    summary_column = find(columns.summary, SUMMARY_COLUMNS, row)
    document, summary = (text_of(row, name) for name in (document_column, summary_column))
    if document is None:
        raise BadRow(f"no text under {document_column!r}")
    if summary is None and summaries:
        raise BadRow(f"no text under {summary_column!r}")
    name = row.get(ID_COLUMN)
    name = str(number if name in (None, "") else name)
    check_whole(name, ID_COLUMN)
    return Record(line, name, document, summary)


def text_of(row: dict, name: str) -> str | None:
    value = row.get(name)
    if not isinstance(value, str):
        return None
    check_whole(value, name)
    return value.strip() or None


def check_whole(value: str, name: str) -> None:
    """Refuse half of a character, which JSON can write and no file can hold: "\\ud800"."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"{value[error.start]!a} under {name!r} is half a character") from None


def find(asked: str | None, usual: tuple[str, ...], names) -> str:
    """Return the column that was asked for, or else the first usual one that there is."""
    return asked or next((name for name in usual if name in names), usual[0])


def rows(path: Path, columns: Columns, summaries: bool) -> Iterator[tuple[int, dict | BadRow]]:
    """Yield (line number, {column: value}, or :class:`BadRow`)."""
    try:
        if is_json(path):
            yield from json_rows(path)
            return
        table = table_rows(path)
        header = next(table, (1, [""]))[1]
        check_header(path, header, columns, summaries)
        for line, cells in table:
            row = dict(zip(header, cells, strict=False))
            yield line, row if len(cells) == len(header) else miscounted(path, cells, header)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def miscounted(path: Path, cells: list[str], header: list[str]) -> BadRow:
    hint = "" if is_csv(path) else " (a .tsv has no quoting: cells with line breaks or tabs need a .csv)"
    return BadRow(f"{len(cells)} columns, {len(header)} expected: {', '.join(header)}{hint}")


def check_header(path: Path, header: list[str], columns: Columns, summaries: bool) -> None:
    wanted = [(find(columns.document, DOCUMENT_COLUMNS, header), "--document-column")]
    wanted += [(find(columns.summary, SUMMARY_COLUMNS, header), "--summary-column")] if summaries else []
    for name, flag in wanted:
        if name not in header:
            raise UserError(f"{path}:1: no column {name!r}, but {', '.join(header)[:200]}; name it: {flag}")
        if header.count(name) > 1:
            raise UserError(f"{path}:1: {header.count(name)} columns are called {name!r}; rename all but one")


def share(text: str) -> float:
    """Return a number from 0 up to 1 that depends on a text alone, to split one file by."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big") / 2**48
