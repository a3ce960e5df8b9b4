"""Rows of Parquet files and of folders that the ``datasets`` library saved, read batch by batch by pyarrow.

A split is ``train.parquet``, ``train-00000-of-00002.parquet`` with its other parts, or a folder with
``data-00000-of-00001.arrow``, as ``Dataset.save_to_disk`` writes it. Nothing in these files can run code.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from plugins.data.text.records import BadRow, string_under
from plugins.errors import UserError, shortened, shown

SUFFIXES = (".parquet", ".arrow")
PART = re.compile(  # some have a hash: train-00000-of-00002-1a2b3c.parquet
    r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?(?P<suffix>\.parquet|\.arrow)"
)
NAMES = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}
STATE_FILE = "state.json"  # in folders written by Dataset.save_to_disk
ROWS_AT_ONCE = 1024
INSTALL = "pip install pyarrow (or pip install -e '.[datasets]')"


def is_columnar(path: str | Path) -> bool:
    """Return whether a file is of this kind, by its name."""
    return str(path).lower().endswith(SUFFIXES)


def find(folder: str | Path, names: Sequence[str]) -> Path | None:
    """Return the first file of a split; :func:`records` reads its other parts too.

    Args:
        folder: the dataset.
        names: names of the split; the first one that exists counts.
    """
    folder = Path(folder)
    for name in names:
        for place in (folder, folder / "data"):
            for suffix in SUFFIXES:
                if (place / f"{name}{suffix}").is_file():
                    return place / f"{name}{suffix}"
            if place.is_dir() and (found := first_part(place, name)):
                return found
        if (folder / name / STATE_FILE).is_file() and (found := first_part(folder / name, "data")):
            return found
    return None


def first_part(folder: Path, stem: str) -> Path | None:
    """Return the first of the parts ``STEM-00000-of-...`` in a folder, None without any."""
    for path in sorted(folder.iterdir()):
        match = PART.fullmatch(path.name)
        if match and match["stem"] == stem and int(match["number"]) == 0:
            return path
    return None


def parts(path: str | Path) -> list[Path]:
    """Return all files of the split that a file begins; an ordinary file is the only one.

    Raises:
        UserError: a part is missing.
    """
    path = Path(path)
    match = PART.fullmatch(path.name)
    if match is None:
        return [path]
    found: dict[int, Path] = {}
    for other in sorted(path.parent.iterdir()):
        like = PART.fullmatch(other.name)
        if like and like.group("stem", "count", "suffix") == match.group("stem", "count", "suffix"):
            found.setdefault(int(like["number"]), other)
    missing = next((i for i in range(int(match["count"])) if i not in found), None)
    if missing is not None:
        raise UserError(f"{path}: part {missing} of {int(match['count'])} is missing next to it (they count from 0)")
    return [found[i] for i in range(int(match["count"]))]


def records(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, {column: value}) of a split, in constant memory.

    Raises:
        UserError: pyarrow is not installed, or a file is missing or damaged.
    """
    number = 0
    for part in parts(path):
        for batch in batches(part):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def splits(path: str | Path) -> dict[str, list[Path]]:
    """Return the first file of each split of a dataset as ``train``, ``valid`` and ``test``, if there is one.

    Args:
        path: path of the dataset, or a file, which is the training split.

    Raises:
        UserError: there is no training split.
    """
    if is_columnar(path):
        return {"train": [Path(path)]}
    found = {split: find(path, names) for split, names in NAMES.items()}
    if found["train"] is None:
        raise UserError(f"{path}: no training split; it would be called train.parquet, train-00000-of-....parquet, or "
                        f"train/ with {STATE_FILE} and data-00000-of-....arrow")  # fmt: skip
    return {split: [first] for split, first in found.items() if first is not None}


def write_json_lines(path: str | Path, key: str, target: str | Path) -> None:
    """Write the texts of a split as JSON lines, in constant memory.

    Args:
        path: the first file of the split.
        key: the column of the texts, and the key of the records.

    Raises:
        UserError: see :func:`records`, or a row has no text in that column.
    """
    with open(target, "w", encoding="utf-8") as file:
        for number, row in tqdm(records(path), "reading", unit=" rows", leave=False, disable=None):
            try:
                text = string_under(row, key)
            except BadRow as error:
                remedy = "" if key in row else "; name the column of the texts with --jsonl-key"
                raise UserError(f"{path}:{number}: {error}{remedy}") from None
            file.write(json.dumps({key: text}, ensure_ascii=False) + "\n")


def batches(path: Path) -> Iterator[Any]:
    """Yield the record batches of one file.

    Raises:
        UserError: see :func:`records`.
    """
    with opened_by_pyarrow(path) as pyarrow:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(path, memory_map=True) as file:
                yield from file.iter_batches(ROWS_AT_ONCE)
        else:
            with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
                for batch in stream:
                    for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                        yield batch.slice(start, ROWS_AT_ONCE)


@contextlib.contextmanager
def opened_by_pyarrow(path: Path) -> Iterator[Any]:
    """Import pyarrow for a ``with`` block; its errors become one line that names the file.

    Raises:
        UserError: it is not installed, or cannot read the file.
    """
    try:
        import pyarrow
    except ImportError:
        raise UserError(f"{path}: Parquet and Arrow files are read by pyarrow: {INSTALL}") from None
    try:
        yield pyarrow
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix[1:]} ({shortened(str(error))})") from None


def class_names(path: str | Path) -> dict[str, list[str]]:
    """Return {column: names of its classes in the order of their ids}, as the ``datasets`` library stores them.

    Raises:
        UserError: the file is damaged, or its names are.
    """
    path = Path(path)
    with opened_by_pyarrow(path) as pyarrow:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            schema = parquet.read_schema(path, memory_map=True)
        else:
            with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
                schema = stream.schema
    stored = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stored)["info"]["features"] if stored else {}
        classes = {name: feature for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
        found = {name: feature["names"] for name, feature in classes.items()}
        assert all(isinstance(name, str) for names in found.values() for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise UserError(f"{path}: the names of its classes are damaged: {shown(str(stored), 60)}") from None
    return found
