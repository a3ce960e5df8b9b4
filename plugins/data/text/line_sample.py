"""A random sample of the lines of a corpus, drawn in one pass and constant memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

SAMPLE_BYTES = 20_000_000


@dataclass
class DrawnLines:
    """Lines of a block with their draws.

    Attributes:
        draws: (lines,) uniform numbers.
        documents: (lines,) index of the document of each line.
        sizes: (lines,) bytes of each line.
        text: the lines, one after the other, in UTF-8.
    """

    draws: np.ndarray
    documents: np.ndarray
    sizes: np.ndarray
    text: bytes


class LineSample:
    """The lines with the smallest draws, about :data:`SAMPLE_BYTES` in all; every line of a smaller corpus.

    A line's draw is a uniform number, so the sample is uniform, and it does not depend on the order of the work.
    """

    def __init__(self, size: int = SAMPLE_BYTES):
        self.size = size
        self.limit = np.inf
        """Lines with larger draws are not in the sample."""
        self._parts: list[DrawnLines] = []
        self._bytes = 0

    def add(self, lines: DrawnLines) -> None:
        """Add the lines of the next block."""
        if self.limit < np.inf:
            lines = kept(lines, lines.draws <= self.limit)
        self._parts.append(lines)
        self._bytes += int(lines.sizes.sum())
        if self._bytes > 1.5 * self.size:
            self._shrink()

    def _shrink(self) -> None:
        lines = joined(self._parts)
        self._parts = [lines]
        if self._bytes > self.size:
            order = np.argsort(lines.draws, kind="stable")
            fits = np.cumsum(lines.sizes[order]) <= self.size
            self.limit = float(lines.draws[order][fits].max(initial=0.0))
            self._parts = [kept(lines, lines.draws <= self.limit)]
        self._bytes = int(self._parts[0].sizes.sum())

    def lines(self, excluded: np.ndarray | None = None) -> "Lines":
        """Return the sample in the order of the corpus.

        Args:
            excluded: (documents,) booleans: documents whose lines are left out.
        """
        self._shrink()
        found = self._parts[0]
        if excluded is not None:
            found = kept(found, ~excluded[found.documents])
        return Lines(found.text, found.sizes)


class Lines(Sequence[str]):
    """Lines as one UTF-8 text and the bytes of each: a string for each line would take several times the memory."""

    def __init__(self, text: bytes, sizes: np.ndarray):
        self.text = text
        self.ends = np.cumsum(sizes)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.text[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])].decode()

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self.ends.tolist():
            yield self.text[start:end].decode()
            start = end


def draw(lines: Sequence[str], documents: np.ndarray, seed: Sequence[int], limit: float) -> DrawnLines:
    """Return the lines whose draws are at most a limit.

    Args:
        documents: (lines,) index of the document of each line.
        seed: random seed of the draws; another one for each block.
    """
    draws = np.random.default_rng(seed).random(len(lines))
    chosen = np.flatnonzero(draws <= limit)
    texts = [lines[index].encode() for index in chosen.tolist()]
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    return DrawnLines(draws[chosen], documents[chosen], sizes, b"".join(texts))


def kept(lines: DrawnLines, mask: np.ndarray) -> DrawnLines:
    """Return the lines where a mask, (lines,), is True."""
    if mask.all():
        return lines
    characters = np.frombuffer(lines.text, np.uint8)[np.repeat(mask, lines.sizes)]
    return DrawnLines(lines.draws[mask], lines.documents[mask], lines.sizes[mask], characters.tobytes())


def joined(parts: Sequence[DrawnLines]) -> DrawnLines:
    """Return the lines of several blocks as one."""
    none = np.zeros(0)
    return DrawnLines(
        np.concatenate([none, *(part.draws for part in parts)]),
        np.concatenate([none.astype(np.int64), *(part.documents for part in parts)]),
        np.concatenate([none.astype(np.int64), *(part.sizes for part in parts)]),
        b"".join(part.text for part in parts),
    )
