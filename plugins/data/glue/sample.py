"""A random sample of the rows of a task's file, as a file of the same kind."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from plugins.data.text import columnar
from plugins.data.text.records import BadRow, is_json, json_records
from plugins.data.text.tables import is_csv, table_rows
from plugins.errors import UserError
from plugins.files import write_text


def write(source: Path, target: Path, size: int, headless: bool, seed: int = 1) -> None:
    """Write ``size`` rows of a CSV, TSV or JSON file, in their order.

    Rows are those of the readers: a cell of a CSV may contain line breaks, and separators such as U+2028 end no row.

    Args:
        source: the file; may be compressed.
        target: the file to write, not compressed.
        headless: the first row of a table is not its header.

    Raises:
        UserError: the file cannot be read, has fewer rows, or is of another kind.
    """
    if columnar.is_columnar(source):
        raise UserError(f"{source}: rows of a Parquet or Arrow file cannot be sampled; convert it to JSON lines")
    rows = json_rows(source) if is_json(source) else [row_text(source, cells) for _, cells in table_rows(source)]
    header = [] if headless or is_json(source) else rows[:1]
    rows = rows[len(header) :]
    if size > len(rows):
        raise UserError(f"{source}: {len(rows)} rows, fewer than --sizes {size}")
    chosen = sorted(np.random.default_rng(seed).permutation(len(rows))[:size])
    write_text(target, "".join(header + [rows[i] for i in chosen]))


def json_rows(path: Path) -> list[str]:
    """Return the records of a JSON file as lines.

    Raises:
        UserError: it cannot be read, or a record cannot be used.
    """
    found = []
    for line, record in json_records(path):
        if isinstance(record, BadRow):
            raise UserError(f"{path}:{line}: {record}; correct the row")
        found.append(json.dumps(record) + "\n")
    return found


def row_text(path: Path, cells: list[Any]) -> str:
    """Return the cells of a row as a line of the file."""
    if not is_csv(path):
        return "\t".join(cells) + "\n"
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # Python 3.11 quotes a line break only if its characters end rows: both do
    return text.getvalue()
