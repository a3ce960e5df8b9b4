"""Where text comes from: the user's files, or English prose that every installation already has.

A *document* is a string of non-empty lines joined by ``"\\n"``. In a text file a line is a sentence or a
paragraph and an empty line ends the document, as in fairseq's own language-modelling data; in JSONL each
record is a document.
"""

import json
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from plugins.data.text.prose import paragraphs
from plugins.data.text.prose_sources import installed_texts
from plugins.errors import UserError

EMBEDDED_BYTES = 5_000_000  # enough for a tokenizer and a small model, read in about 12 s on one core


def embedded_corpus(limit: int = EMBEDDED_BYTES, skipped: Container[str] = ()) -> Iterator[str]:
    """Yield documents of English prose found in this Python installation, one paragraph a line.

    The sources are the language reference, licence texts, and the docstrings of the standard library and of
    installed scientific packages (see :mod:`plugins.data.text.prose_sources`). The order depends only on what is
    installed, and no paragraph appears twice.

    Args:
        limit: stop after the document that brings the total to this many bytes of UTF-8.
        skipped: names of modules to leave out, see :func:`plugins.data.text.prose_sources.modules`.
    """
    seen: set[str] = set()
    size = 0
    for text in installed_texts(skipped):
        # dict.fromkeys: a paragraph may also repeat within its document
        fresh = [p for p in dict.fromkeys(paragraphs(text)) if p not in seen]
        if not fresh:
            continue
        seen.update(fresh)
        document = "\n".join(fresh)
        yield document
        size += len(document.encode()) + 1
        if size >= limit:
            return


def read_documents(paths: Iterable[str | Path], jsonl_key: str = "text") -> Iterator[str]:
    """Yield the documents of text files and ``.jsonl`` files, in order.

    Lines are stripped of surrounding white space; those left empty only separate documents. So does a
    file's end.

    Args:
        paths: files in UTF-8, with or without a byte-order mark. Names ending in ``.jsonl`` are read as one
            JSON object a line.
        jsonl_key: the field of each JSON object that holds the text.

    Raises:
        UserError: a file is missing, unreadable, without text or not UTF-8, or a JSONL line is not an object
            with text under ``jsonl_key``.
    """
    for path in map(Path, paths):
        read = _jsonl_documents(path, jsonl_key) if path.suffix.lower() == ".jsonl" else _text_documents(path)
        empty = True
        for document in read:
            empty = False
            yield document
        if empty:
            raise UserError(f"{path} holds no text")


def _text_documents(path: Path) -> Iterator[str]:
    lines: list[str] = []
    for _, line in numbered_lines(path):
        if line:
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _jsonl_documents(path: Path, key: str) -> Iterator[str]:
    for number, line in numbered_lines(path):
        if not line:
            continue
        place = f"{path}:{number}"
        text = text_under(key, read_record(line, place), place)
        document = "\n".join(stripped for part in text.split("\n") if (stripped := part.strip()))
        if document:
            yield document


def read_record(line: str, place: str) -> dict:
    """Return the JSON object in ``line``; ``place`` is its ``file:line``.

    Raises:
        UserError: it is not JSON, or not an object.
    """
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(record, dict):
        raise UserError(f"{place}: expected a JSON object, found {line[:40]}")
    return record


def text_under(key: str, record: dict, place: str, flag: str = "--jsonl-key", what: str = "text") -> str:
    """Return the string under ``key`` of a record; ``flag`` is the option that names the key of a ``what``.

    Raises:
        UserError: there is no such key, or no string under it, or half a surrogate pair in the string.
    """
    if key not in record:
        keys = ", ".join(map(repr, record)) or "none"
        raise UserError(f"{place}: no key {key!r} (it has {keys}); name the {what} field with {flag}")
    text = record[key]
    if not isinstance(text, str):
        raise UserError(f"{place}: the value under {key!r} is not a string but {json.dumps(text)[:40]}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"{place}: the value under {key!r} holds half a surrogate pair")
    return text


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, stripped line) of a UTF-8 file.

    The file is split on ``\\n`` alone: ``str.splitlines`` would also break lines at form feeds and at U+2028.
    """
    offset = 0  # in bytes, of the line's start
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, raw.decode("utf-8").removeprefix("\ufeff" if number == 1 else "").strip()
                offset += len(raw)
    except UnicodeDecodeError as error:
        place = f"{path}:{number}: not UTF-8 (byte {raw[error.start]:#04x} at offset {offset + error.start})"
        raise UserError(f"{place}; convert it first, for example with iconv -f latin1 -t utf-8") from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
