"""Write reviewed labels into a data file and leave every other byte unchanged."""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugins.data.text.json_record import JsonRecord
from plugins.data.text.packed import PackedFile
from plugins.data.text.records import BadRow, begins_array, is_json, json_records
from plugins.data.text.tables import is_csv
from plugins.errors import UserError, check, shown
from plugins.files import packed_error

CHUNK = 1 << 24  # bytes read at once


@dataclass(frozen=True)
class Judgment:
    """A reviewer's judgment of a row: its texts, its given and correct labels, and the ``line`` of the review file."""

    row: int
    texts: tuple[str, ...]
    given: str
    label: str
    line: int


@dataclass(frozen=True)
class LabeledRow:
    """A row of a data file: its texts, its label, and the bytes ``start`` to ``end`` of the label in the file."""

    texts: tuple[str, ...]
    label: str
    start: int
    end: int
    raw: bytes  # the label as written in the file


def read_review(path: str | Path) -> list[Judgment]:
    """Read judgments exported by the review page.

    Raises:
        UserError: the file cannot be read, a line is malformed, or a row is judged twice.
    """
    found: dict[int, Judgment] = {}
    for line, row in json_records(Path(path)):
        if isinstance(row, BadRow):
            raise UserError(f"{path}:{line}: {row}")
        try:
            texts, number = row["texts"], row["row"]
            given, label = row["given_label"], row["label"]
        except KeyError as error:
            raise UserError(f"{path}:{line}: no {error}; the file is not an export of the review page") from None
        plain = isinstance(texts, list) and all(isinstance(x, str) for x in (*texts, given, label))
        check(plain and type(number) is int, f"{path}:{line}: texts, labels and a row number are expected")
        usable = label.strip() and not re.search("[\0\ud800-\udfff]", label)
        check(usable, f"{path}:{line}: {shown(label)} is not a label")
        check(number not in found, f"{path}:{line}: row {number} is judged twice")
        found[number] = Judgment(number, tuple(texts), given, label, line)
    check(found, f"{path}: no judgments")
    return list(found.values())


def cells(path: str | Path, texts: Sequence[str], label: str, header: Sequence[str] | None = None) -> list[LabeledRow]:
    """Return the rows of a data file with the byte positions of their labels.

    Args:
        path: CSV with quoting, TSV without quoting, or JSON lines.
        texts: names of the text columns.
        label: name of the label column.
        header: column names, for a file without a header.

    Raises:
        UserError: the file cannot be read, or a column is missing.
    """
    path = Path(path)
    content = unpacked(path)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise packed_error(path) or UserError(
            f"{path}:{line}: byte {error.start} is not UTF-8; convert the file"
        ) from None
    if is_json(path):
        return list(_json_cells(path, content, texts, label))
    table = _csv_rows(path, content) if is_csv(path) else _tsv_rows(content)
    names = list(header) if header else [value for value, _, _ in next(table, [])]
    for name in (*texts, label):
        check(name in names, f"{path}: no column {name!r}; there are {', '.join(names)[:200]}")
    places, target = [names.index(name) for name in texts], names.index(label)
    found = []
    for number, row in enumerate(table):
        check(len(row) == len(names), f"{path}: row {number}: {len(row)} columns, {len(names)} expected")
        value, start, end = row[target]
        if not content[start:end].startswith(b'"'):  # the blanks around a label stay
            start += len(value[: len(value) - len(value.lstrip())].encode())
            end = start + len(value.strip().encode())
        found.append(LabeledRow(tuple(row[i][0] for i in places), value.strip(), start, end, content[start:end]))
    return found


def unpacked(path: str | Path) -> bytes:
    """Return the content of a file, unpacked if it is compressed with gzip or zstd."""
    with PackedFile(path) as file:
        return b"".join(iter(lambda: file.read(CHUNK), b""))


def packed(content: bytes, path: str | Path) -> bytes:
    """Return the bytes to write: compressed with gzip if the path ends with ``.gz``, otherwise unchanged."""
    return gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content


def _tsv_rows(content: bytes) -> Iterator[list[tuple[str, int, int]]]:
    """Yield the cells of each line: their text, and their first and last byte positions (exclusive)."""
    start = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        stop = end - (content[start:end].endswith(b"\r"))
        row = []
        for raw in content[start:stop].split(b"\t"):
            row.append((raw.decode("utf-8"), start, start + len(raw)))
            start += len(raw) + 1
        if stop > row[0][1] or len(row) > 1:
            yield row
        start = end + 1


def _csv_rows(path: Path, content: bytes) -> Iterator[list[tuple[str, int, int]]]:
    """Yield the cells of each record without quotes; the byte positions include the quotes."""
    blanks = rb" *" if b", " in content.split(b"\n")[0] else b""  # as plugins.data.text.tables
    pattern = re.compile(blanks + rb'("(?:[^"]|"")*"|[^"\r\n,][^,\r\n]*|)(,|\r\n|\n|\r|$)')
    at = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    row: list[tuple[str, int, int]] = []
    while at < len(content) or row:
        found = pattern.match(content, at)
        if not found:
            raise UserError(f"{path}:{content.count(bytes([10]), 0, at) + 1}: not CSV near byte {at}")
        raw = found[1]
        plain = raw[1:-1].replace(b'""', b'"') if raw.startswith(b'"') else raw
        row.append((plain.decode("utf-8"), *found.span(1)))
        at = found.end()
        if found[2] != b",":
            if len(row) > 1 or row[0][0]:
                yield row
            row = []


def _json_cells(path: Path, content: bytes, texts: Sequence[str], label: str) -> Iterator[LabeledRow]:
    start = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    first = content[start : content.find(b"\n", start) % (len(content) + 1)].decode()
    check(not begins_array(first), f"{path}: a JSON array; write a record a line, for example: jq -c '.[]' {path}")
    for number, line in enumerate(content[start:].split(b"\n"), start=1):
        if line.strip():
            try:
                row = JsonRecord(json.loads(line))
                columns = tuple(row[name] for name in texts)
                value = dict(row)[label]  # a path would name a label within another value
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{path}:{number}: {error}; JSON lines with the columns are expected") from None
            spot = _value(line.decode("utf-8"), label)
            yield LabeledRow(columns, str(value).strip(), start + spot[0], start + spot[1], line[spot[0] : spot[1]])
        start += len(line) + 1


def _value(line: str, key: str) -> tuple[int, int]:
    """Return the first and last byte (exclusive) of the value of a key of an object in JSON; the last one counts."""
    decoder, place, at = json.JSONDecoder(), (0, 0), line.index("{")  # blanks, and a byte-order mark, may precede it
    while line[at] != "}":
        name, at = decoder.raw_decode(line, _after(line, at + 1))
        start = _after(line, _after(line, at) + 1)  # after the colon
        _, end = decoder.raw_decode(line, start)
        place = (start, end) if name == key else place
        at = _after(line, end)  # a comma, or the closing brace
    start = len(line[: place[0]].encode())
    return start, start + len(line[slice(*place)].encode())


def _after(text: str, at: int) -> int:
    """Return the index of the first character from ``at`` on that is not a blank of JSON."""
    while text[at] in " \t\r\n":
        at += 1
    return at


def mended(
    path: str | Path, rows: Sequence[LabeledRow], judgments: Sequence[Judgment], names: Mapping[str, str] | None = None
) -> tuple[bytes, list[dict]]:
    """Return the content of a file with corrected labels, and a log of the changes.

    Args:
        path: the file.
        rows: returned by :func:`cells`.
        judgments: returned by :func:`read_review`.
        names: {class name: label in the file}; None if they are equal.

    Raises:
        UserError: a judged text is not in the file, its label has changed, or a class is unknown.
    """
    by_text = defaultdict(list)
    for number, cell in enumerate(rows):
        by_text[cell.texts].append(number)
    changes, log = [], []
    judged: set[int] = set()
    for j in judgments:
        where = f"line {j.line} of the review (row {j.row})"
        spots = by_text.get(j.texts, [])
        check(spots, f"{path}: {where}: its text is not in the file; it has changed since the diagnosis")
        number = j.row if j.row in spots else spots[0]
        check(len(spots) == 1 or j.row in spots, f"{path}: {where}: its text occurs {len(spots)} times, at other rows")
        for name in (j.given, j.label):
            check(names is None or name in names, f"{where}: no class {name!r}; name the task: --glue-task or --spec")
        old, new = (j.given, j.label) if names is None else (names[j.given], names[j.label])
        cell = rows[number]
        check(number not in judged, f"{path}: {where}: row {number} of the file is judged twice")
        judged.add(number)
        check(same(cell.label, old), f"{path}: {where}: the label is {cell.label!r} now, but was {old!r}")
        if new != old:
            changes.append((cell, new))
            log.append({"row": number, "old": old, "new": new})
    content, parts, at = unpacked(path), [], 0
    for cell, new in sorted(changes, key=lambda change: change[0].start):
        parts += [content[at : cell.start], _written(Path(path), cell.raw, new)]
        at = cell.end
    return b"".join([*parts, content[at:]]), log


def same(written: str, name: str) -> bool:
    """Return whether a label in a file is a class; tables name JSON's ``true`` True, tasks name it true."""
    return written == name or (written in ("True", "False") and written.lower() == name)


def _written(path: Path, raw: bytes, new: str) -> bytes:
    """Format a label like the one that it replaces: quoted or not, as a JSON string or number.

    Raises:
        UserError: the file format cannot represent the label.
    """
    if is_json(path):
        new = new.lower() if raw in (b"true", b"false") and new in ("True", "False") else new
        quoted = raw.startswith(b'"') or not re.fullmatch(r"-?\d+(\.\d+)?|true|false", new)
        return (json.dumps(new, ensure_ascii=False) if quoted else new).encode()
    if is_csv(path):
        quoted = raw.startswith(b'"') or re.search('[",\r\n]', new)
        return ('"' + new.replace('"', '""') + '"' if quoted else new).encode()
    check(not re.search("[\t\r\n]", new), f"{path}: the label {new!r} cannot be written into a TSV")
    return new.encode()
