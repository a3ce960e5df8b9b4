"""Rows of a user's tables: CSV with quoting, TSV without; plain or compressed; each with the line it begins in."""

import csv
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from plugins.data.text.packed import without_suffix
from plugins.data.text.records import lines, with_breaks
from plugins.errors import UserError, shown

WITH_COMMAS = (
    "python -c \"import csv, sys; csv.writer(open('comma.csv', 'x', encoding='utf-8', newline='')).writerows("
    "csv.reader(open(sys.argv[1], encoding='utf-8-sig', newline=''), delimiter=';'))\""
)
csv.field_size_limit(2**31 - 1)
_AT_BREAKS = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def is_csv(path: Path) -> bool:
    """Return whether a file is a CSV with quoting, by its name without ``.gz`` or ``.zst``; otherwise it is a TSV."""
    return suffix(path) == ".csv"


def suffix(path: str | Path) -> str:
    """Return the suffix of a file's name in lower case: ``.csv``, also of ``train.csv.gz``."""
    return Path(without_suffix(path)).suffix.lower()


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a ``.csv``, whose cells may contain line breaks, or else of a TSV.

    Both may be compressed with gzip or zstd, whatever their names.

    A blank after each comma of the first row is not part of the names, nor of the cells below.

    Raises:
        UserError: it cannot be read, is not UTF-8, or is not CSV.
    """
    if not is_csv(path):
        yield from ((number, line.split("\t")) for number, line in _without_last_empty(lines(path)))
        return
    parts = (part for _, text in with_breaks(path) for part in _AT_BREAKS.findall(text))
    first = next(parts, "")
    reader, line = csv.reader(itertools.chain([first], parts), strict=True, skipinitialspace=", " in first), 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: not CSV ({error})") from None


def _without_last_empty(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the lines without the empty ones at the end."""
    empty = 0  # counted, since there may be as many as a compressed file unpacks to
    for number, line in numbered:
        if not line:
            empty += 1
            continue
        yield from ((number - back, "") for back in range(empty, 0, -1))
        empty = 0
        yield number, line


def check_delimiter(path: Path, header: list[str]) -> None:
    """Raise an error for a one-column header that another delimiter would split into several.

    Raises:
        UserError: the delimiter looks like another than that of the file's kind.
    """
    if len(header) > 1 or not header:
        return
    own, wanted = ("a comma", ",") if is_csv(path) else ("a tab", "\t")
    for name, delimiter in (("a semicolon", ";"), ("a tab", "\t"), ("a comma", ",")):
        if delimiter != wanted and delimiter in header[0]:
            other = {"a tab": ".tsv", "a comma": ".csv"}.get(name)
            packed = without_suffix(path) != str(path)
            convert = "convert it" if other or packed else f"convert it: {WITH_COMMAS} {shlex.quote(str(path))}"
            remedy = f"rename the file to {other}, or {convert}" if other else convert
            raise UserError(
                f"{path}:1: one column, {shown(header[0], 80)}: the delimiter looks like {name}, "
                f"but a {suffix(path) or 'TSV'} file needs {own}; {remedy}"
            )
