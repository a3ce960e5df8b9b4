"""Encode a corpus of characters as one array for each split, in two passes over the files.

The ids number the corpus's own alphabet: the characters of all splits, in the order of their code points. They have the
narrowest integer type. Memory use is a chunk of text and three numbers for each document.
"""

import os
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from plugins.data.text.sources import CorpusSpec, Document, Progress, Source, read_documents
from plugins.errors import UserError

SPLITS = ("train", "valid", "test")
_CODE_POINTS = 0x110000

Sources = dict[str, list[Source]]


@dataclass
class Survey:
    """Results of the first pass."""

    seen: np.ndarray = field(default_factory=lambda: np.zeros(_CODE_POINTS, bool))
    """Which code points occur."""
    lengths: dict[tuple[str, str | None], int] = field(default_factory=dict)
    """Number of characters of each (file, style)."""
    styles: dict[str, str] = field(default_factory=dict)
    """Place of the first document of each style."""


@dataclass
class Piece:
    """Consecutive characters of one document, all in the same split."""

    split: str
    document: Document
    offset: int
    """Index of the first of them in the document."""
    codes: np.ndarray
    begins: bool
    """Whether they are the first of the document in this split."""


def encode(spec: CorpusSpec, sources: Sources, folder: str) -> dict[str, Any]:
    """Write the arrays of every split into a folder, and return their description, as plain data.

    Raises:
        UserError: a file is not UTF-8, has no text, or no style.
    """
    total = 2 * sum(os.path.getsize(source.path) for files in sources.values() for source in files)
    # disable=None: no bar where the output is not a terminal
    with tqdm(desc="encoding the text", total=total, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        survey = _survey(spec, sources, bar.update)
        alphabet = np.arange(256) if spec.reading.unit == "byte" else np.flatnonzero(survey.seen)
        names = sorted(survey.styles)
        writers = {split: _SplitWriter(os.path.join(folder, split), alphabet, names) for split in SPLITS}
        for piece in pieces(spec, sources, survey.lengths, bar.update):
            writers[piece.split].add(piece)
    trained = {names[index] for index in set(writers["train"].labels) if index >= 0}
    return {
        "alphabet": alphabet.tolist(),
        "styles": names,
        "untrained": {name: place for name, place in survey.styles.items() if name not in trained},
        "lengths": [[*which, length] for which, length in survey.lengths.items()],
        "splits": {split: writer.finish() for split, writer in writers.items()},
    }


def _survey(spec: CorpusSpec, sources: Sources, progress: Progress) -> Survey:
    survey = Survey()
    for source in (source for files in sources.values() for source in files):
        lengths: dict[str | None, int] = defaultdict(int)
        for document in read_documents(source, spec.reading, progress):
            if document.style is not None:
                survey.styles.setdefault(document.style, document.place)
            for codes in document.chunks:
                survey.seen[codes] = True
                lengths[document.style] += len(codes)
        if not any(lengths.values()):
            raise UserError(f"{source.path}: no text in this file")
        survey.lengths |= {(source.path, style): length for style, length in lengths.items()}
    return survey


def pieces(
    spec: CorpusSpec, sources: Sources, lengths: Mapping[tuple[str, str | None], int], progress: Progress | None = None
) -> Iterator[Piece]:
    """Yield the text of a corpus in order, each piece with the split that it belongs to.

    A text file is cut at a character, as in nanoGPT: of n characters the first ``int(n * 0.9)`` are for training. A
    JSON file is cut between documents, separately for each style.

    Args:
        lengths: number of characters of each (file, style).
    """
    for split, files in sources.items():
        for source in files:
            done: dict[str | None, int] = defaultdict(int)  # characters so far, by style
            for document in read_documents(source, spec.reading, progress):
                parts = _parts(spec, split, lengths[source.path, document.style])
                if source.is_json:
                    codes = next(document.chunks)
                    done[document.style] += len(codes)
                    chosen = next(name for name, _, end in parts if done[document.style] <= end)
                    if len(codes):
                        yield Piece(chosen, document, 0, codes, True)
                else:
                    yield from _cut(document, parts)


def _parts(spec: CorpusSpec, split: str, length: int) -> list[tuple[str, int, int]]:
    """Return (split, start, end) of the parts that a text is cut into."""
    if split != "train":
        return [(split, 0, length)]
    first, second = (int(length * share) for share in spec.shares())
    return [("train", 0, first), ("valid", first, second), ("test", second, length)]


def _cut(document: Document, parts: list[tuple[str, int, int]]) -> Iterator[Piece]:
    position = 0  # in the document
    for codes in document.chunks:
        for split, start, end in parts:
            low, high = max(start - position, 0), min(end - position, len(codes))
            if low < high:
                yield Piece(split, document, position + low, codes[low:high], position + low == start)
        position += len(codes)


class _SplitWriter:
    """Writes the ids of a split piece by piece, and keeps where its documents start."""

    def __init__(self, prefix: str, alphabet: np.ndarray, styles: list[str]):
        self.prefix = prefix
        self.dtype = np.min_scalar_type(len(alphabet) - 1)
        self.ids = np.zeros(_CODE_POINTS, self.dtype)  # id of each code point
        self.ids[alphabet] = np.arange(len(alphabet))
        self.styles = {name: index for index, name in enumerate(styles)}
        self.starts, self.labels = array("q"), array("i")
        self.used = np.zeros(len(alphabet), bool)
        self.length = 0
        self.file = open(prefix + ".bin", "wb")

    def add(self, piece: Piece) -> None:
        if piece.begins:
            self.starts.append(self.length)
            style = piece.document.style
            self.labels.append(-1 if style is None else self.styles.get(style, -1))
        ids = self.ids[piece.codes]
        self.used[ids] = True
        ids.tofile(self.file)
        self.length += len(ids)

    def finish(self) -> dict[str, Any]:
        self.file.close()
        np.save(self.prefix + ".starts.npy", np.array(self.starts, np.int64))
        np.save(self.prefix + ".styles.npy", np.array(self.labels, np.int64))
        return {"length": self.length, "dtype": self.dtype.name, "used": np.flatnonzero(self.used).tolist()}
