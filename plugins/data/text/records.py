"""Lines and JSON records of UTF-8 files, plain or compressed, each with the number of the line it begins in."""

import json
import logging
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from plugins.data.text.json_record import JsonRecord
from plugins.data.text.packed import PackedFile, without_suffix
from plugins.errors import UserError, shown
from plugins.files import not_utf8
from plugins.plain_data import BadData, parse_json, parse_json_at

TEXT_KEY = "text"  # of a record, if no option names another
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
LONGEST_LINE = 1 << 28  # bytes: a compressed file of a few kilobytes may be a single line of many gigabytes
_FIRST_LINE = 1 << 20  # bytes that are searched for a first record
_CHUNK = 1 << 18  # bytes read at once
_BLANKS = " \t\r\n"
T = TypeVar("T")

logger = logging.getLogger(__name__)


class BadRow(ValueError):
    """A row that cannot be used; the message is the reason."""


def usable_rows(
    path: str | Path,
    numbered: Iterable[tuple[int, dict[str, Any] | BadRow]],
    parse: Callable[[dict[str, Any], int, int], T],
    bad: list[tuple[int, str]] | None = None,
    remedy: str = "correct the row, or leave such rows out: --skip-bad-rows",
) -> Iterator[T]:
    """Yield the parsed rows of a file lazily.

    Args:
        numbered: (line number, row), a :class:`BadRow` for one that cannot be used.
        parse: called with a row, its line and its place in the file (from 0); may raise :class:`BadRow`.
        bad: list to which (line, reason) of bad rows are appended, which are logged at the end; None: a bad row is an
            error.
        remedy: the end of that error.

    Raises:
        UserError: a row is bad, or none is usable.
    """
    used = False
    try:
        for number, (line, row) in enumerate(numbered):
            try:
                if isinstance(row, BadRow):
                    raise row
                parsed = parse(row, line, number)
            except BadRow as error:
                if bad is None:
                    raise UserError(f"{path}:{line}: {error}; {remedy}") from None
                bad.append((line, str(error)))
                continue
            used = True
            yield parsed
    finally:  # also when the caller stops early
        if bad:
            logger.warning("%s: %d bad rows left out, the first is line %d: %s", path, len(bad), *bad[0])
    if not used:
        raise UserError(f"{path}: no usable rows")


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its line break) of a plain, gzip or zstd file.

    Only line feeds end a line: other separators (form feed, U+2028) occur inside sentences.

    Raises:
        UserError: the file cannot be read, is not UTF-8 (with the line), or has a line beyond :data:`LONGEST_LINE`.
    """
    return ((number, line.removesuffix("\n").removesuffix("\r")) for number, line in with_breaks(path))


def with_breaks(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its line break); see :func:`lines`.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    offset = 0  # in bytes, of the line's start
    with PackedFile(path) as file:
        for number, raw in enumerate(_raw_lines(file), start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise not_utf8(path, number, raw[error.start], offset + error.start, unpacked=True) from None
            yield number, line
            offset += len(raw)


def _raw_lines(file: PackedFile) -> Iterator[bytes]:
    held: list[bytes] = []  # parts of the current line
    number, size = 1, 0
    while chunk := file.read(_CHUNK):
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            yield b"".join([*held, part, b"\n"])
            held, size, number = [], 0, number + 1
        held.append(rest)
        size += len(rest)
        if size > LONGEST_LINE:
            raise UserError(f"{file.name}:{number}: a line of more than {LONGEST_LINE >> 20} MiB; break it up")
    if last := b"".join(held):
        yield last


def is_json(path: str | Path, key: str | None = None) -> bool:
    """Return whether a file contains JSON records, by its suffix or by its first line.

    Args:
        key: what a record of that first line must have; None if any object counts.
    """
    if without_suffix(path).lower().endswith(JSON_SUFFIXES):
        return True
    record = _first_record(path)
    return isinstance(record, dict) and bool(record) and (key is None or key in record)


def check_plain(path: str | Path, reader: str = "") -> None:
    """Raise an error for a file of JSON records where its text itself would be read, with keys and braces.

    As in other readers, a first line that is an object means records only if it has the key of the text. A file with a
    blank first line and another suffix is text.

    Args:
        reader: the option that reads records, for the error.

    Raises:
        UserError: it contains JSON records.
    """
    if is_json(path, TEXT_KEY):
        inner = without_suffix(path)
        if inner.lower().endswith(JSON_SUFFIXES):
            found, plain = "its suffix", "rename it"
        else:
            found, plain = f"the key {shown(TEXT_KEY)} in its first line", "begin it with a blank line"
        packed = inner != str(path)
        remedy = f"read it with {reader}" if reader else "extract its text"
        if not reader and not packed:
            remedy += f": {_extraction(path)}"
        raise UserError(
            f"{path}: JSON records, by {found}, but plain text is needed; if it is text, {plain}; else {remedy}"
        )


def _extraction(path: str | Path) -> str:
    """Return the command that prints the texts of a file of records, which are lines or the elements of an array."""
    array, key = False, TEXT_KEY
    with suppress(OSError, ValueError):
        with PackedFile(path) as file:
            array = begins_array(file.read(_FIRST_LINE).decode("utf-8-sig", "ignore").lstrip().partition("\n")[0])
        record = next((record for _, record in json_records(path)), None)
        if isinstance(record, dict) and TEXT_KEY not in record:
            texts = [name for name, value in record.items() if isinstance(value, str)]
            key = max(texts, key=lambda name: len(record[name]), default=TEXT_KEY)
    place = f".{key}" if re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) else f"[{json.dumps(key)}]"
    start = ".[]" if array else "" if place.startswith(".") else "."
    return f"jq -r {shlex.quote(start + place)} {shlex.quote(str(path))}"


def _first_record(path: str | Path) -> Any:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe can be read once only
            return None
        with PackedFile(path) as file:
            line = file.read(_FIRST_LINE).split(b"\n")[0].decode("utf-8-sig").strip()
        return parsed_record(line) if line.startswith("{") else None
    except (OSError, ValueError):  # a UserError too: it is reported when the file is read
        return None


def json_records(path: str | Path) -> Iterator[tuple[int, JsonRecord | BadRow]]:
    """Yield (line number, object) of JSON lines or of a JSON array, a :class:`BadRow` where it is not an object.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is an array with an error in it.
    """
    first = True
    for number, line in lines(path):
        if not line.strip(_BLANKS):
            continue
        if first and begins_array(line):
            yield from _array_records(path)
            return
        first = False
        yield number, parsed_record(line)


def begins_array(line: str) -> bool:
    """Return whether a file with this first line is a JSON array, rather than JSON lines with a bad first line."""
    line = line.strip(_BLANKS)
    return line.startswith("[") and line[1:].lstrip(_BLANKS)[:1] in ("", "{", "]")


def parsed_record(line: str) -> JsonRecord | BadRow:
    """Return the object in a line, or a :class:`BadRow` if it is not one."""
    try:
        record = parse_json(line)
    except BadData as error:
        return BadRow(str(error))
    return _as_record(record, line.strip())


def _as_record(value: Any, written: object) -> JsonRecord | BadRow:
    return JsonRecord(value) if isinstance(value, dict) else BadRow(f"not a JSON object but {shown(written, 40)}")


def _array_records(path: str | Path) -> Iterator[tuple[int, JsonRecord | BadRow]]:
    text = "".join(f"{line}\n" for _, line in lines(path))
    position, line, counted = text.index("[") + 1, 1, 0  # ``counted``: line feeds before it are in ``line``
    first = True
    while True:
        position = _skip_blanks(text, position)
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]":
            break
        if not first:
            if text[position : position + 1] != ",":
                raise UserError(f"{path}:{line}: not JSON (a comma or ] is expected between the records of the array)")
            position = _skip_blanks(text, position + 1)
            line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = parse_json_at(text, position)
        except BadData as error:
            raise UserError(f"{path}:{error.line or line}: {error}") from None
        yield line, _as_record(value, value)
        first = False
    if text[position + 1 :].strip(_BLANKS):
        raise UserError(f"{path}:{line}: not JSON (more text after the array)")


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANKS:
        position += 1
    return position


def string_under(record: Mapping[str, Any], key: str) -> str:
    """Return the text under a key of a record.

    Raises:
        BadRow: it is missing, is not text, or has half a surrogate pair, which UTF-8 cannot encode.
    """
    if key not in record:
        keys = ", ".join(shown(name, 40) for name in list(record)[:20]) or "none"
        raise BadRow(f"no key {shown(key)} (it has {keys})")
    text = record[key]
    if not isinstance(text, str):
        raise BadRow(f"the value under {shown(key)} is {kind(text)}, not a text: {shown(text, 40)}")
    check_whole(text, key)
    return text


def check_whole(text: str, name: str) -> None:
    """Raise an error for half a surrogate pair, which JSON can express but UTF-8 cannot: ``"\\ud800"``.

    Raises:
        BadRow: the text has one.
    """
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRow(f"the value under {shown(name)} has half a surrogate pair")


def check_name(text: str, what: str) -> None:
    """Raise an error for a name (of a row, a label, a style) that would break the tables it is written to.

    Raises:
        BadRow: it has a control character or a line break, or begins like the formula of a spreadsheet.
    """
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in text):
        raise BadRow(f"the {what} {shown(text)} has a control character; remove it")
    if text[:1] in "=+-@" and text and not _is_number(text):
        raise BadRow(f"the {what} {shown(text)} begins like a formula of a spreadsheet; rename it")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def kind(value: object) -> str:
    """Return the name of a JSON value's type, for an error."""
    names = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names.get(type(value), "null")
