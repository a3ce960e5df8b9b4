"""A corpus of any size as blocks of whole lines, and its division into shards.

The reader only cuts bytes at line breaks, so that one process can feed many that decode, parse and encode.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugins.data.text.documents import text_of
from plugins.data.text.packed import PackedFile, packing
from plugins.data.text.records import begins_array, is_json, json_records, parsed_record
from plugins.errors import UserError
from plugins.files import not_utf8

BLOCK = 1 << 20  # bytes of a block: large enough that sending it to a worker is cheap
LONGEST = 1 << 25  # bytes of a line, and of a document that is kept whole
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextSource:
    """A file of a corpus.

    Attributes:
        path: where it is read from.
        name: its name in errors and in the manifest.
        is_json: whether it has JSON records instead of plain text.
    """

    path: str
    name: str
    is_json: bool


@dataclass(frozen=True)
class Span:
    """Bytes ``start`` to ``end`` of a source; a compressed file is always one span."""

    source: TextSource
    start: int
    end: int
    whole: bool = True
    """Whether this is the whole file."""


@dataclass
class TextBlock:
    """Whole lines of a source, or documents in memory.

    Attributes:
        source: the file; None for documents in memory.
        offset: offset of the first byte in the decompressed file.
        content: the lines as they are stored, or documents.
        continues: whether the first line belongs to the document of the line before it.
        stored: number of bytes of the file that were read for the block.
    """

    source: TextSource | None
    offset: int
    content: bytes | list[str]
    continues: bool = False
    stored: int = 0


@dataclass
class Parsed:
    """The lines of a block.

    Attributes:
        lines: lines of text; none is empty. With whole documents an item is a document, with its line breaks.
        starts: index of the line that each document begins with.
    """

    lines: list[str]
    starts: list[int]


def text_source(path: str | Path, key: str, name: str | None = None) -> TextSource:
    """Return the description of a file; ``key`` is the field of JSON records that contains the text."""
    return TextSource(str(path), name or str(path), is_json(path, key))


# ---- shards --------------------------------------------------------------------------------------


def shards_of(sources: Sequence[TextSource], count: int) -> list[list[Span]]:
    """Divide sources, in order, into ``count`` shards of about the same number of stored bytes.

    A plain file is divided between two documents (JSON: between two records); a compressed file and a JSON array are
    not divided. The shards depend only on the files and ``count``.
    """
    sizes = [os.path.getsize(source.path) for source in sources]
    total = max(sum(sizes), 1)
    shards: list[list[Span]] = [[] for _ in range(count)]
    position = 0  # start of the file in the concatenation of all files
    for source, size in zip(sources, sizes, strict=True):
        if count == 1 or packing(source.path) or _is_array(source):
            shards[min(count - 1, (position + size // 2) * count // total)].append(Span(source, 0, size))
        else:
            limits = [boundary(source, total * i // count - position, size) for i in range(count)] + [size]
            for shard, start, end in zip(shards, limits[:-1], limits[1:], strict=True):
                if start < end:
                    shard.append(Span(source, start, end, whole=end - start == size))
        position += size
    return shards


def boundary(source: TextSource, offset: int, size: int) -> int:
    """Return where the first document begins at or after a byte of a plain file of ``size`` bytes.

    Within a document longer than :data:`LONGEST` it is where a line begins.
    """
    if offset <= 0 or offset >= size:
        return max(0, min(offset, size))
    with open(source.path, "rb") as file:
        file.seek(offset - 1)
        file.readline()  # the rest of the line before
        line_end = file.tell()
        while not source.is_json and (line := file.readline()) and line.strip():
            if file.tell() > line_end + LONGEST:
                return line_end
        return min(file.tell(), size)


def _is_array(source: TextSource) -> bool:
    if not source.is_json:
        return False
    with PackedFile(source.path, name=source.name) as file:
        start = file.read(4096).removeprefix(_BOM).lstrip()
    return begins_array(start.split(b"\n")[0].decode("utf-8", "replace"))


# ---- reading -------------------------------------------------------------------------------------


def blocks(span: Span, key: str, read: list[dict], whole_documents: bool = False) -> Iterator[TextBlock]:
    """Yield the lines of a span in blocks of about :data:`BLOCK` bytes.

    Args:
        key: field of JSON records that contains the text.
        read: receives a record of the stored bytes with their SHA-256, when all are read.
        whole_documents: cut text only between documents, unless one is longer than :data:`LONGEST`.

    Raises:
        UserError: the file cannot be read, or has a line that is longer than :data:`LONGEST`.
    """
    source = span.source
    with PackedFile(source.path, span.start, source.name) as file:
        if _is_array(source):
            yield from _array_blocks(span, key)
            while file.read(BLOCK):  # for the digest
                pass
        else:
            yield from _line_blocks(file, span, whole_documents)
        read.append({"file": source.name, "start": span.start, "bytes": file.position, "sha256": file.sha256()})


def _line_blocks(file: PackedFile, span: Span, whole_documents: bool) -> Iterator[TextBlock]:
    source, left = span.source, None if packing(span.source.path) else span.end - span.start
    offset, held, continues, stored = span.start, b"", False, 0
    while chunk := file.read(BLOCK if left is None else min(BLOCK, left)):
        left = None if left is None else left - len(chunk)
        searched = len(held)
        held += chunk
        end, between = _cut(held, searched, source, whole_documents)
        if end:
            yield TextBlock(source, offset, held[:end], continues, file.position - stored)
            offset, held, continues, stored = offset + end, held[end:], not between, file.position
        elif len(held) >= LONGEST:
            line = line_at(source, offset)
            raise UserError(f"{source.name}:{line}: a line of more than {LONGEST >> 20} MiB; break it up")
    if held:
        yield TextBlock(source, offset, held, continues, file.position - stored)


def _cut(held: bytes, searched: int, source: TextSource, whole: bool) -> tuple[int, bool]:
    """Return where to cut, 0 for nowhere yet, and whether a document ends there."""
    newline = held.rfind(b"\n", searched) + 1
    if source.is_json:
        return newline, True
    if blank := _after_blank_line(held, searched):
        return blank, True
    long = len(held) >= LONGEST
    if newline and (long or not whole):
        return newline, False
    return (held.rfind(b"\n") + 1 or held.rfind(b" ") + 1 if long else 0), False


def _after_blank_line(held: bytes, searched: int) -> int:
    """Return the end of the last line that is blank and ends at or after an index; 0 if there is none."""
    end = held.rfind(b"\n", searched)
    while end > 0:
        start = held.rfind(b"\n", 0, end)
        if start < 0:
            break
        if not held[start + 1 : end].strip():
            return end + 1
        if start < searched:
            break
        end = start
    return 0


def _array_blocks(span: Span, key: str) -> Iterator[TextBlock]:
    texts, size = [], 0
    for number, record in json_records(span.source.path):
        texts.append(text_of(record, key, f"{span.source.name}:{number}"))
        size += len(texts[-1])
        if size >= BLOCK:
            yield TextBlock(None, 0, texts)
            texts, size = [], 0
    yield TextBlock(None, 0, texts, stored=span.end)


# ---- parsing -------------------------------------------------------------------------------------


def parse(block: TextBlock, key: str, whole_documents: bool = False) -> Parsed:
    """Decode and parse a block.

    Raises:
        UserError: not UTF-8, or a JSON record without text, with the file and the line.
    """
    if isinstance(block.content, list):
        return _documents(block.content, whole_documents)
    text = _decode(block)
    assert block.source is not None
    if block.source.is_json:
        return _documents(list(_record_texts(block, text, key)), whole_documents)
    lines: list[str] = []
    starts, inside = [], block.continues
    for line in text.split("\n"):
        if line := line.strip():
            if not inside:
                starts.append(len(lines))
            lines.append(line)
        inside = bool(line)
    return _joined(lines, starts) if whole_documents else Parsed(lines, starts)


def _documents(texts: list[str], whole: bool) -> Parsed:
    if whole:
        kept = [text for text in texts if text.strip()]
        return Parsed(kept, list(range(len(kept))))
    lines: list[str] = []
    starts = []
    for text in texts:
        found = [line for part in text.split("\n") if (line := part.strip())]
        if found:
            starts.append(len(lines))
            lines += found
    return Parsed(lines, starts)


def _joined(lines: list[str], starts: list[int]) -> Parsed:
    if not starts or starts[0]:  # the end of a document that is longer than LONGEST is an item too
        starts = [0, *starts]
    ends = [*starts[1:], len(lines)]
    items = ["\n".join(lines[start:end]) for start, end in zip(starts, ends, strict=True) if start < end]
    return Parsed(items, list(range(len(items))))


def _decode(block: TextBlock) -> str:
    content = block.content
    assert isinstance(content, bytes) and block.source is not None
    try:
        return (content.removeprefix(_BOM) if block.offset == 0 else content).decode()
    except UnicodeDecodeError as error:
        bom = len(_BOM) if block.offset == 0 and content.startswith(_BOM) else 0
        where = block.offset + bom + error.start
        line = line_at(block.source, block.offset) + content.count(b"\n", 0, bom + error.start)
        raise not_utf8(block.source.name, line, error.object[error.start], where, unpacked=True) from None


def _record_texts(block: TextBlock, text: str, key: str) -> Iterator[str]:
    for index, line in enumerate(text.split("\n")):
        if not line.strip(" \t\r\n"):
            continue
        record = parsed_record(line.removesuffix("\r"))
        try:
            yield text_of(record, key, "")
        except UserError:
            assert block.source is not None
            place = f"{block.source.name}:{line_at(block.source, block.offset) + index}"
            yield text_of(record, key, place)  # raises the error again, with the place


def line_at(source: TextSource, offset: int) -> int:
    """Return the number of the line, from 1, that a byte of the decompressed file is in."""
    number = 1
    with PackedFile(source.path, name=source.name) as file:
        while offset > 0 and (chunk := file.read(min(offset, BLOCK))):
            number += chunk.count(b"\n")
            offset -= len(chunk)
    return number
