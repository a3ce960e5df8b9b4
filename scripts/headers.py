"""Check that a file has the columns that a command names, before the seconds of the heavy imports."""

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path

import command

LONGEST_HEADER = 1 << 16  # characters
RECORDS = 100  # of a JSON lines file searched for a column, at most


def check(path: str | Path | None, columns: Iterable[str | None], flag: str) -> None:
    """Exit with a one-line error if a CSV, TSV or JSON lines file lacks a column; other formats are checked when read.

    Args:
        path: the file; None is skipped.
        columns: what the user named; None is skipped.
        flag: the option that names them, for the error.
    """
    wanted = [name for name in columns if name is not None]
    suffix = Path(path or "").suffix.lower()
    if not wanted or path is None or not os.path.isfile(path):
        return
    try:
        with open(path, encoding="utf-8-sig") as file:
            if suffix in (".csv", ".tsv"):
                there = columns_of(file.readline(LONGEST_HEADER), wanted, suffix)
            elif suffix in (".jsonl", ".ndjson"):
                there = keys_of(file.read(LONGEST_HEADER), wanted)
            else:
                return
    except (OSError, UnicodeDecodeError):  # compressed, or in another encoding: the reader reports it
        return
    if there is not None:
        known = {key.casefold() for key in there}
        of_table = suffix in (".csv", ".tsv")
        missing = next(name for name in wanted if not ({name.casefold()} if of_table else names_of(name)) & known)
        command.stop(f"{flag} {missing}: {path} has no such column; there are {', '.join(there)[:200]}")


def columns_of(line: str, wanted: Iterable[str], suffix: str) -> list[str] | None:
    """Return the columns of a header that lacks one of those wanted, else None."""
    if not line.strip() or not line.endswith("\n") or line.count('"') % 2:
        return None  # empty, or a header that continues on the next line
    plain = line.replace('""', '"').casefold()
    if all(name.casefold() in plain for name in wanted):  # wherever the delimiters are
        return None
    return next(csv.reader([line], delimiter="\t" if suffix == ".tsv" else ","))


def keys_of(text: str, wanted: Iterable[str]) -> list[str] | None:
    """Return the keys of the first JSON records if none of these has one of those wanted, else None."""
    keys: dict[str, None] = {}
    for line in text.splitlines(keepends=True)[:RECORDS]:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            if line.endswith("\n") or len(text) < LONGEST_HEADER:
                return None  # the reader reports it
            break  # cut in the middle of a record
        if not isinstance(record, dict):
            return None
        keys |= dict.fromkeys(record)
    there = {key.casefold() for key in keys}
    return list(keys) if keys and not all(names_of(name) & there for name in wanted) else None


def names_of(name: str) -> set[str]:
    """Return the keys that a name of a JSON record may stand for: itself, or the first key of a path (``a.b``)."""
    return {name.casefold(), name.casefold().partition(".")[0]}
