"""Documents with summaries in a user's files: CSV with quoting, TSV without, JSON lines or arrays, Parquet or Arrow."""

import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from plugins.data.text import columnar
from plugins.data.text.packed import find_text
from plugins.data.text.records import BadRow, check_name, check_whole, is_json, json_records, string_under, usable_rows
from plugins.data.text.tables import check_delimiter, is_csv, table_rows
from plugins.errors import UserError, shown
from plugins.files import check_readable, check_regular

DOCUMENT_COLUMNS = ("article", "document", "text")  # cnn_dailymail's name first
SUMMARY_COLUMNS = ("highlights", "summary")
ID_COLUMN = "id"
NAMES = {"train": ("train",), "valid": ("valid", "validation", "dev"), "test": ("test",)}
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson")


@dataclass(frozen=True)
class Columns:
    """Columns of documents and summaries; None means the first usual column name that the file has."""

    document: str | None = None
    summary: str | None = None


@dataclass(frozen=True)
class Record:
    """A document, its summary if there is one, its name, and the line that its record begins in."""

    line: int
    name: str
    document: str
    summary: str | None


def locate(data: str, split: str) -> Path:
    """Return the file of a split: ``train.csv``, ``validation.jsonl.gz``, ... in a folder, or the file itself.

    A dataset of the Hugging Face Hub is a folder too, see :mod:`plugins.data.text.columnar`.

    Raises:
        UserError: there is none, or more than one.
    """
    path = Path(data)
    if path.is_file():
        return path
    if not path.is_dir():
        check_regular(path)
    names = [name + suffix for name in NAMES.get(split, (split,)) for suffix in SUFFIXES]
    found = find_text(path, names)
    if not found and (first := columnar.find(path, NAMES.get(split, (split,)))):
        return first
    if not found:
        raise UserError(f"{path}: no {split} split here; it would be called {', '.join(names[:4])}, ...")
    if len(found) > 1:
        raise UserError(f"{path}: {' and '.join(file.name for file in found)} are both the {split} split; remove one")
    return found[0]


def read(
    path: Path, columns: Columns = Columns(), summaries: bool = True, skip_bad_rows: bool = False
) -> Iterator[Record]:
    """Yield the records of a file lazily.

    Args:
        summaries: whether a record without a summary is an error.
        skip_bad_rows: leave out and count bad records instead of raising an error.

    Raises:
        UserError: a record is bad, a column is missing, or there are no records.
    """
    check_readable(path)

    def parse(row: dict, line: int, number: int) -> Record:
        return record_of(row, line, columns, summaries, number)

    yield from usable_rows(path, rows(path, columns, summaries), parse, [] if skip_bad_rows else None)


def record_of(row: dict, line: int, columns: Columns, summaries: bool, number: int) -> Record:
    """Return the record in a row; ``number`` is its name where it has none.

    Raises:
        BadRow: no document, no summary where there must be one, something that is not text, or a name with control
            characters.
    """
    document_column = find(columns.document, DOCUMENT_COLUMNS, row)
    summary_column = find(columns.summary, SUMMARY_COLUMNS, row)
    document, summary = (text_of(row, name) for name in (document_column, summary_column))
    if document is None:
        raise BadRow(f"no text under {shown(document_column)}")
    if summary is None and summaries:
        raise BadRow(f"no text under {shown(summary_column)}")
    name = row.get(ID_COLUMN)
    name = str(number if name in (None, "") else name)
    check_whole(name, ID_COLUMN)
    check_name(name, ID_COLUMN)
    return Record(line, name, document, summary)


def text_of(row: dict, name: str) -> str | None:
    """Return the text under a name without surrounding white space; None if there is none.

    Raises:
        BadRow: the value is not text, for example a list.
    """
    if row.get(name) is None:
        return None
    return string_under(row, name).strip() or None


def find(asked: str | None, usual: tuple[str, ...], names: Container[str]) -> str:
    """Return the requested column, or else the first usual one that exists."""
    return asked or next((name for name in usual if name in names), usual[0])


def rows(path: Path, columns: Columns, summaries: bool) -> Iterator[tuple[int, dict | BadRow]]:
    """Yield (line number, {column: value} or :class:`BadRow`).

    Raises:
        UserError: the file cannot be read, or its header lacks a column or has one twice.
    """
    if columnar.is_columnar(path):
        yield from columnar.records(path)
        return
    if is_json(path):
        yield from json_records(path)
        return
    table = table_rows(path)
    header = [name.strip() for name in next(table, (1, [""]))[1]]
    check_header(path, header, columns, summaries)
    for line, cells in table:
        row = dict(zip(header, cells, strict=False))
        yield line, row if len(cells) == len(header) else miscounted(path, cells, header)


def miscounted(path: Path, cells: list[str], header: list[str]) -> BadRow:
    """Return what is wrong with a row of another length than the header."""
    hint = "" if is_csv(path) else " (a .tsv has no quoting: cells with line breaks or tabs need a .csv)"
    return BadRow(f"{len(cells)} columns, {len(header)} expected: {shown(', '.join(header))[1:-1]}{hint}")


def check_header(path: Path, header: list[str], columns: Columns, summaries: bool) -> None:
    """Check that each column that is used is there, once.

    Raises:
        UserError: one is missing or there twice, or another delimiter was used than that of the file's kind.
    """
    check_delimiter(path, header)
    wanted = [(find(columns.document, DOCUMENT_COLUMNS, header), "--document-column", True)]
    wanted += [(find(columns.summary, SUMMARY_COLUMNS, header), "--summary-column", summaries)]
    for name, flag, needed in wanted:
        if name not in header and (needed or columns.summary == name):
            there = shown(", ".join(header))[1:-1]
            found = f"but {there}; name it: {flag}" if there else "since there is no header"
            raise UserError(f"{path}:1: no column {shown(name)}, {found}")
        if header.count(name) > 1:
            raise UserError(f"{path}:1: {header.count(name)} columns are called {shown(name)}; rename all but one")


def share(text: str) -> float:
    """Return a number in [0, 1) that depends only on the text, to split a file by."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big") / 2**48
