"""Assign documents to splits, and write the items of a split with a separator between documents."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from plugins.data.mlm.indexed import RawItems
from plugins.errors import UserError

TRAIN, VALID, DROPPED = 0, 1, 2
_CHUNK = 1_000_000  # documents


def split_documents(documents: Sequence[str], valid_fraction: float, seed: int = 1) -> tuple[list[str], list[str]]:
    """Set a random part of whole documents aside for validation; both parts keep their order.

    Args:
        documents: at least two.
        valid_fraction: fraction of the documents, between 0 and 1, rounded to a number from 1 to all but one.
        seed: chooses the documents.

    Raises:
        UserError: there are too few documents to split.
    """
    check_divisible(len(documents))
    chosen = np.concatenate(list(held_out(len(documents), valid_fraction, seed)))
    train = [document for document, valid in zip(documents, chosen, strict=True) if not valid]
    return train, [document for document, valid in zip(documents, chosen, strict=True) if valid]


def check_divisible(documents: int) -> None:
    """Raise a UserError if there are fewer than two documents."""
    if documents < 2:
        raise UserError("a single document cannot be split: put empty lines between documents, or give --valid")


def held_out(documents: int, fraction: float, seed: int) -> Iterator[np.ndarray]:
    """Yield which documents are for validation, booleans for up to a million documents at a time.

    Their number is the rounded fraction, from 1 to all but one; 0 for a single document.
    """
    left = min(max(1, round(fraction * documents)), documents - 1)
    if documents <= _CHUNK:
        chosen = np.zeros(documents, bool)
        chosen[random.Random(seed).sample(range(documents), max(left, 0))] = True
        yield chosen
        return
    generator = np.random.default_rng(seed)
    for start in range(0, documents, _CHUNK):
        size = min(_CHUNK, documents - start)
        number = int(generator.hypergeometric(left, documents - start - left, size))
        chosen = np.zeros(size, bool)
        chosen[generator.choice(size, number, replace=False)] = True
        left -= number
        yield chosen


class Router:
    """The split of each document, in order.

    Args:
        valid: which of the documents that are not dropped are for validation, in pieces; None: none of them.
        dropped: (documents,) booleans: duplicates; None: none.
    """

    def __init__(self, valid: Iterator[np.ndarray] | None = None, dropped: np.ndarray | None = None):
        self._valid, self._dropped = valid, dropped
        self._next = np.zeros(0, bool)  # items of ``valid`` not consumed yet
        self._position = 0

    def take(self, count: int) -> np.ndarray:
        """Return TRAIN, VALID or DROPPED for each of the next documents, (count,) int8."""
        found = np.full(count, TRAIN, np.int8)
        if self._dropped is not None:
            found[self._dropped[self._position : self._position + count]] = DROPPED
        self._position += count
        if self._valid is not None:
            kept = np.flatnonzero(found == TRAIN)
            while len(self._next) < len(kept):
                self._next = np.concatenate([self._next, next(self._valid)])
            found[kept[self._next[: len(kept)]]] = VALID
            self._next = self._next[len(kept) :]
        return found


class SplitWriter:
    """Writes the items of a split as raw items; a single ``</s>`` separates two documents.

    Args:
        prefix: path without the suffixes.
        dtype: type of the ids.
        eos: id of ``</s>``.
        vocabulary: number of symbols.
        separated: whether to write separators; whole documents need none.
        leading: write one before the first document too, because another shard precedes.
    """

    def __init__(self, prefix: Path, dtype: np.dtype, eos: int, vocabulary: int, separated: bool, leading: bool):
        self.items = RawItems(prefix, dtype)
        self.counts = np.zeros(vocabulary, np.int64)
        self.documents = self.lines = 0
        self._eos, self._separated = eos, separated
        self._last = -1 if leading else None  # number of the document of the last item; None before the first item

    def add(self, ids: np.ndarray, sizes: np.ndarray, begins: np.ndarray) -> None:
        """Append lines.

        Args:
            ids: (tokens,) of all lines.
            sizes: (lines,) number of ids of each; lines of size 0 have no symbols and are dropped.
            begins: (lines,) booleans: whether a document begins with the line.
        """
        document = self.documents + np.cumsum(begins)  # (lines,) number of each line's document, from 1
        self.documents += int(begins.sum())
        self.lines += len(sizes)
        document, sizes = document[sizes > 0], sizes[sizes > 0]
        if not len(sizes):
            return
        if self._separated:
            first = document[0] if self._last is None else self._last
            new = np.flatnonzero(np.diff(document, prepend=first))  # lines with a separator before them
            places = (np.cumsum(sizes) - sizes)[new]
            ids, sizes = np.insert(ids, places, self._eos), np.insert(sizes, new, 1)
            self._last = int(document[-1])
        self.items.add(ids, sizes)
        self.counts += np.bincount(ids, minlength=len(self.counts))

    def close(self) -> None:
        """Close the files."""
        self.items.close()
