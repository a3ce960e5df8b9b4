"""A corpus of tokens: one array for each split, encoded on disk once, then read through a memory map.

Documents follow each other, with an end-of-document symbol before each; windows cross them, as in GPT-2's training. A
text file is a document, and so is each record of a JSON file.
"""

import itertools
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from plugins.data.text.cache import cached, describe_sources
from plugins.data.text.causal_tokenizers import Characters, SentencePieceVocabulary
from plugins.data.text.encoding import SPLITS, Piece, Sources, pieces
from plugins.data.text.line_sample import SAMPLE_BYTES, Lines, LineSample, draw
from plugins.data.text.sources import CorpusSpec, Progress, read_documents
from plugins.data.text.splits import TextSplit
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.data.text.tokenizers import SentencePieceTokenizer
from plugins.errors import UserError

logger = logging.getLogger(__name__)

FORMAT = 2  # version of the cache files
_AT_ONCE = 1 << 20  # characters
_BOUNDARY = re.compile(r"(?<=\S) (?=\S)")  # no tokenizer merges the text on both sides of it


class TokenCorpus:
    """The splits of a corpus.

    Args:
        spec: the files and how they are split.
        dictionary: encodes them.
        cache: folder for the arrays.

    Raises:
        UserError: a source is missing, empty, not UTF-8, or has text without a symbol in the dictionary.
    """

    def __init__(self, spec: CorpusSpec, dictionary: TokenDictionary, cache: str):
        self._sources = spec.sources()
        key = {"format": FORMAT, **describe_sources(spec, self._sources), "dictionary": dictionary.fingerprint()}
        self._folder, self._content = cached(cache, key, lambda part: encode(spec, self._sources, dictionary, part))

    def split(self, name: str, window: int) -> TextSplit:
        """Return a split.

        Args:
            window: length of the longest window in tokens.

        Raises:
            UserError: no such split, or it is shorter than a window.
        """
        if name not in self._content["splits"]:
            raise UserError(f"no split {name!r}; there are {', '.join(self._content['splits'])}")
        info = self._content["splits"][name]
        if info["length"] <= window:
            files = self._sources[name] or self._sources["train"]
            raise UserError(
                f"{files[0].path}: the {name} split has {info['length']} tokens, and a window needs {window + 1}; give "
                "more text, change --valid-fraction or --test-fraction, or lower --tokens-per-sample"
            )
        path = os.path.join(self._folder, name + ".bin")
        return TextSplit(np.memmap(path, info["dtype"], "r", shape=(info["length"],)), np.zeros(1, np.int64))


def encode(spec: CorpusSpec, sources: Sources, dictionary: TokenDictionary, folder: str) -> dict[str, Any]:
    """Write the array of every split into a folder, and return their lengths and types, as plain data."""
    dtype = np.min_scalar_type(len(dictionary) - 1)
    lengths = dict.fromkeys(SPLITS, 0)
    total = 2 * sum(os.path.getsize(source.path) for files in sources.values() for source in files)
    # disable=None: no bar where the output is not a terminal
    with tqdm(desc="encoding the text", total=total, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        characters = count_characters(spec, sources, bar.update)
        files = {split: open(os.path.join(folder, split + ".bin"), "wb") for split in SPLITS}
        ends = {dictionary[dictionary.bos()], dictionary[dictionary.eos()]}
        try:
            for split, place, text in documents(pieces(spec, sources, characters, bar.update)):
                for ids in encoded(warned(text, place, ends), place, dictionary):
                    np.array(ids, dtype).tofile(files[split])
                    lengths[split] += len(ids)
        finally:
            for file in files.values():
                file.close()
    return {"splits": {split: {"length": length, "dtype": dtype.name} for split, length in lengths.items()}}


def learn(kind: str, size: int, spec: CorpusSpec, cache: str) -> TokenDictionary:
    """Return a dictionary learned from the training text; it is kept in ``cache``.

    Args:
        kind: "char", for the characters of all splits that are cut from it; or "sentencepiece", for a lossless model of
            the training split: line breaks, blanks and rare characters (as bytes) have pieces.
        size: largest number of symbols of a sentencepiece model.

    Raises:
        UserError: a source is missing, empty or not UTF-8, or the text is too small for the pieces.
    """
    sources = {**spec.sources(), "valid": [], "test": []}

    def write(folder: str) -> dict:
        parts = documents(pieces(spec, sources, count_characters(spec, sources)))
        if kind == "char":
            found: set[str] = set()
            for *_, text in parts:
                found.update(*text)
            tokenizer = Characters(sorted(found))
        else:
            lines = sampled_lines(part for split, _, text in parts for part in text if split == "train")
            tokenizer = SentencePieceVocabulary(SentencePieceTokenizer.train_lossless(lines, size))
        for name, content in tokenizer.files().items():
            Path(folder, name).write_bytes(content)
        return {}

    key = {"format": FORMAT, **describe_sources(spec, sources), "vocabulary": [kind, size]}
    return TokenDictionary.from_files(cached(cache, key, write)[0])


def sampled_lines(text: Iterable[str]) -> Lines:
    """Return the lines of a text that comes in pieces; of more than 20 MB, a random sample."""
    sample, held = LineSample(), ""
    for number, part in enumerate(itertools.chain(text, ["\n"])):
        *lines, held = (held + part).split("\n")
        if len(held) > SAMPLE_BYTES:  # a text of a single line, for example
            lines, held = [*lines, held], ""
        sample.add(draw(lines, np.zeros(len(lines), np.int64), (1, number), sample.limit))
    return sample.lines()


def count_characters(
    spec: CorpusSpec, sources: Sources, progress: Progress | None = None
) -> dict[tuple[str, str | None], int]:
    """Return {(path, style): number of characters}.

    Raises:
        UserError: a file has no text.
    """
    counts: dict[tuple[str, str | None], int] = defaultdict(int)
    for source in (source for files in sources.values() for source in files):
        found = 0
        for document in read_documents(source, spec.reading, progress):
            size = sum(map(len, document.chunks))
            counts[source.path, document.style] += size
            found += size
        if not found:
            raise UserError(f"{source.path}: no text in this file")
    return counts


def documents(parts: Iterator[Piece]) -> Iterator[tuple[str, str, Iterator[str]]]:
    """Yield (split, place, text in pieces) of each document or part of one; read each before the next."""
    piece = next(parts, None)

    def text() -> Iterator[str]:
        nonlocal piece
        begins = True
        while piece is not None and piece.begins == begins:
            yield piece.codes.astype("<u4").tobytes().decode("utf-32-le")
            piece, begins = next(parts, None), False

    while piece is not None:
        yield piece.split, piece.document.place, text()


def warned(text: Iterable[str], place: str, ends: set[str]) -> Iterator[str]:
    """Yield a text as it is, with a warning at the first end of a document that is written in it.

    Args:
        text: in pieces; an end that two of them share is not found.
        place: named in the warning.
        ends: the symbols that end documents and have not been found; found ones are removed.
    """
    for part in text:
        for symbol in [symbol for symbol in ends if symbol in part]:
            ends.remove(symbol)
            logger.warning(
                "%s: %s in the text is encoded as its characters and ends no document; to divide the text into "
                "documents, make each a file or a record of a .jsonl file", place, symbol
            )  # fmt: skip
        yield part


def encoded(text: Iterable[str], place: str, dictionary: TokenDictionary) -> Iterator[list[int]]:
    """Yield the tokens of a document, in pieces, after the end of the one before and the beginning of this one.

    Raises:
        UserError: a part of the text has no symbol in the dictionary.
    """
    yield list(dict.fromkeys([dictionary.eos(), dictionary.bos()]))  # often one symbol
    try:
        for part in cut(text):
            yield dictionary.tokenizer.encode(part)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def cut(chunks: Iterable[str], size: int = _AT_ONCE) -> Iterator[str]:
    """Yield a text in pieces of about ``size`` characters that can be encoded separately.

    A piece ends at a blank between two words, so it is longer where there is none.
    """
    held: list[str] = []  # chunks without a boundary after ``size`` characters
    length, tail = 0, ""  # tail: the last two characters, because a boundary needs those on both sides of the blank
    for chunk in chunks:
        searched = tail + chunk
        offset = length - len(tail)  # in ``searched``, from the start of the buffer
        tail = searched[-2:]
        held.append(chunk)
        length += len(chunk)
        if length <= size or not _BOUNDARY.search(searched, max(size - offset, 0)):
            continue
        text = "".join(held)
        start = 0
        while len(text) - start > size and (boundary := _BOUNDARY.search(text, start + size)):
            yield text[start : boundary.start()]
            start = boundary.start()
        held, length, tail = [text[start:]], len(text) - start, text[start:][-2:]
    yield "".join(held)
