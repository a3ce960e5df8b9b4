"""The text of a split as a stream of blocks, and its way through the workers."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from plugins.data.text.blocks import BLOCK, Span, TextBlock, blocks
from plugins.errors import UserError

Map = Callable[[Iterable], Iterator]


@dataclass
class Stream:
    """Text of one split.

    Attributes:
        spans: parts of files.
        documents: documents in memory, instead of files.
        key: field of JSON records that contains the text.
        whole: cut text only between documents.
        read: the stored bytes that were read, with their SHA-256; see :func:`plugins.data.text.blocks.blocks`.
    """

    spans: Sequence[Span] = ()
    documents: Sequence[str] | None = None
    key: str = "text"
    whole: bool = False
    read: list[dict] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Stored bytes, or characters in memory."""
        return sum(span.end - span.start for span in self.spans) + sum(map(len, self.documents or ()))

    def blocks(self) -> Iterator[tuple[Span | None, TextBlock]]:
        """Yield the blocks, each with the span that it belongs to.

        Raises:
            UserError: a file cannot be read or is empty.
        """
        self.read.clear()
        for span in self.spans:
            block = None
            for block in blocks(span, self.key, self.read, self.whole):
                yield span, block
            if block is None:
                check_text({span: 0})
        for block in in_memory(self.documents or ()):
            yield None, block


def in_memory(documents: Sequence[str]) -> Iterator[TextBlock]:
    """Yield documents in blocks."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BLOCK // 4:
            yield TextBlock(None, 0, batch, stored=size)
            batch, size = [], 0
    if batch:
        yield TextBlock(None, 0, batch, stored=size)


def processed(
    stream: Stream,
    work: Map,
    count: Callable[[Any], int],
    bar: tqdm,
    prepared: Callable[[int, TextBlock], Any] = lambda index, block: block,
) -> Iterator:
    """Send the blocks of a stream through workers, and yield the results in order.

    Args:
        work: maps what ``prepared`` returns to results.
        count: the number of documents that begin in a block, given its result.
        bar: progress in stored bytes.
        prepared: what a worker receives for a block, given the number of the block.

    Raises:
        UserError: a file has no text.
    """
    sent: deque[tuple[Span | None, int]] = deque()

    def items() -> Iterator:
        for index, (span, block) in enumerate(stream.blocks()):
            sent.append((span, block.stored))
            yield prepared(index, block)

    texts: dict[Span, int] = {}  # documents of the span that is in work
    for result in work(items()):
        span, stored = sent.popleft()
        if span is not None:
            if span not in texts:
                check_text(texts)
                texts = {span: 0}
            texts[span] += count(result)
        bar.update(stored)
        yield result
    check_text(texts)


def check_text(documents: dict[Span, int]) -> None:
    """Raise a UserError for a whole file without documents."""
    for span, found in documents.items():
        if span.whole and not found:
            raise UserError(f"{span.source.name}: no text in this file")
