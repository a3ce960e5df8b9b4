"""Rows of files of the user's: CSV with quoting, TSV without, JSON lines; each with the line that it begins in."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from plugins.errors import UserError

csv.field_size_limit(2**31 - 1)


class BadRow(ValueError):
    """A row that cannot be used; the text says why."""


def is_json(path: Path) -> bool:
    """Tell whether a file holds JSON lines, by its name."""
    return path.suffix.lower() in (".jsonl", ".json")


def is_csv(path: Path) -> bool:
    """Tell whether a file has quoting, by its name; else it is a TSV."""
    return path.suffix.lower() == ".csv"


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a ``.csv``, whose cells may hold line breaks, or else of a TSV.

    Raises:
        UserError: it is not UTF-8, or no CSV.
    """
    if not is_csv(path):
        yield from ((number, line.split("\t")) for number, line in text_lines(path))
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, line = csv.reader(file, strict=True), 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}:{line}: {error}") from None
        except UnicodeDecodeError:
            raise not_utf8(path) from None


def json_rows(path: Path) -> Iterator[tuple[int, dict | BadRow]]:
    """Yield (line number, object) of JSON lines, a :class:`BadRow` in place of what is no object."""
    for number, line in text_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # such as a number of too many digits, or too many brackets
            yield number, BadRow(f"not JSON ({getattr(error, 'msg', error)})")
            continue
        yield number, row if isinstance(row, dict) else BadRow("not a JSON object")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line); only line feeds end a line, for other separators occur inside sentences.

    Empty lines at the end are left out.
    """
    empty = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError:
                raise not_utf8(path) from None
            if not line:
                empty.append((number, line))
                continue
            yield from empty
            empty.clear()
            yield number, line


def not_utf8(path: Path) -> UserError:
    """Return the error that names the first line of a file that is not UTF-8."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        content = content[: error.start]
    line = content.count(b"\n") + 1
    return UserError(f"{path}:{line}: not UTF-8; convert the file")
