"""Documents from a user's files, or English prose from the Python installation itself.

A *document* is a string of non-empty lines joined by ``"\\n"``. In a text file a line is a sentence or a paragraph and
an empty line ends the document, as in fairseq's own language-modeling data; in a JSON file each record is a document.
"""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from plugins.data.text.prose import paragraphs
from plugins.data.text.prose_sources import installed_texts
from plugins.data.text.records import BadRow, is_json, json_records, lines, string_under
from plugins.errors import UserError

EMBEDDED_BYTES = 5_000_000  # enough for a tokenizer and a small model, read in about 12 s on one core


def embedded_corpus(limit: int = EMBEDDED_BYTES, skipped: Container[str] = ()) -> Iterator[str]:
    """Yield documents of English prose found in this Python installation, one paragraph per line.

    The sources are the language reference, license texts, and the docstrings of the standard library and of
    installed scientific packages (see :mod:`plugins.data.text.prose_sources`). The order depends only on what is
    installed, and no paragraph appears twice.

    Args:
        limit: stop after the document with which the total reaches this many bytes of UTF-8.
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
    """Yield the documents of text files and of files of JSON records, in order.

    Lines are stripped of surrounding whitespace. Lines that are then empty, and the end of a file, end a document.

    Args:
        paths: files in UTF-8, with or without a byte-order mark. A file has JSON records, as lines or as one array, if
            its name ends in ``.jsonl``, ``.ndjson`` or ``.json``, or if its first line is an object with the key.
        jsonl_key: the field of each JSON object that contains the text.

    Raises:
        UserError: a file is missing, unreadable, compressed, without text or not UTF-8, or a JSON record is not an
            object with text under ``jsonl_key``.
    """
    for path in map(Path, paths):
        read = _json_documents(path, jsonl_key) if is_json(path, jsonl_key) else _text_documents(path)
        empty = True
        for document in read:
            empty = False
            yield document
        if empty:
            raise UserError(f"{path}: no text in this file")


def _text_documents(path: Path) -> Iterator[str]:
    document: list[str] = []
    for _, line in lines(path):
        if stripped := line.strip():
            document.append(stripped)
        elif document:
            yield "\n".join(document)
            document = []
    if document:
        yield "\n".join(document)


def _json_documents(path: Path, key: str) -> Iterator[str]:
    for number, record in json_records(path):
        text = text_of(record, key, f"{path}:{number}")
        document = "\n".join(stripped for part in text.split("\n") if (stripped := part.strip()))
        if document:
            yield document


def text_of(record: dict | BadRow, key: str, place: str, flag: str = "--jsonl-key", what: str = "text") -> str:
    """Return the text under a key of a JSON record.

    Args:
        place: ``file:line`` of the record, for errors.
        flag: the option that names the key of ``what``.

    Raises:
        UserError: it is not an object, or the key is missing or not text.
    """
    try:
        if isinstance(record, BadRow):
            raise record
        return string_under(record, key)
    except BadRow as error:
        remedy = "" if isinstance(record, BadRow) or key in record else f"; name the {what} field with {flag}"
        raise UserError(f"{place}: {error}{remedy}") from None
