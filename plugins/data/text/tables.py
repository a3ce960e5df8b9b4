"""Rows of a user's tables: CSV with quoting, TSV without, JSON lines and arrays; each with the line it begins in."""

import csv
from collections.abc import Iterator
from pathlib import Path

from plugins.data.text.records import lines
from plugins.errors import UserError, shown
from plugins.files import opened

csv.field_size_limit(2**31 - 1)


def is_csv(path: Path) -> bool:
    """Return whether a file is a CSV with quoting, by its name; otherwise it is a TSV."""
    return path.suffix.lower() == ".csv"


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a ``.csv``, whose cells may contain line breaks, or else of a TSV.

    A blank after each comma of the first row is not part of the names, nor of the cells below.

    Raises:
        UserError: it cannot be read, is not UTF-8, or is not CSV.
    """
    if not is_csv(path):
        yield from ((number, line.split("\t")) for number, line in _without_last_empty(lines(path)))
        return
    with opened(path) as file:
        blank_after_comma = ", " in file.readline()
        file.seek(0)
        reader, line = csv.reader(file, strict=True, skipinitialspace=blank_after_comma), 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}:{line}: not CSV ({error})") from None


def _without_last_empty(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the lines without the empty ones at the end."""
    empty: list[tuple[int, str]] = []
    for number, line in numbered:
        if not line:
            empty.append((number, line))
            continue
        yield from empty
        empty.clear()
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
            remedy = f"rename the file to {other}, or convert it" if other else "convert it"
            raise UserError(
                f"{path}:1: one column, {shown(header[0], 80)}: the delimiter looks like {name}, "
                f"but a {path.suffix.lower() or 'TSV'} file needs {own}; {remedy}"
            )
