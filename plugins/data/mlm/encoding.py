"""Encode blocks of text with the ids of a fairseq dictionary: a faster ``Dictionary.encode_line``."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fairseq.data import indexed_dataset

from plugins.data.text.blocks import TextBlock, parse
from plugins.data.text.token_corpus import cut
from plugins.data.text.tokenizers import GPT2Tokenizer, LineTokenizer, SentencePieceTokenizer

_LONG_LINE = 1 << 20  # characters from which on a line is encoded in parts
_KNOWN_WORDS = 100_000  # size of a worker's cache, about 25 MB


@dataclass
class EncodedBlock:
    """A block as ids of the tokenizer's dictionary.

    Attributes:
        ids: (tokens,) of all lines, each line followed by ``</s>``.
        sizes: (lines,) number of ids of each line; 0 for a line without symbols (U+200B alone, for example).
        starts: (documents,) index of the line that each document begins with; lines before the first belong to the
            last document of the block before.
    """

    ids: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray


class BlockEncoder:
    """Parse and encode blocks; the task of a worker.

    Args:
        tokenizer: whose ids are given.
        key: field of JSON records that contains the text.
        whole_documents: an item is a document, not a line.
    """

    def __init__(self, tokenizer: LineTokenizer, key: str = "text", whole_documents: bool = False):
        self.key, self.whole = key, whole_documents
        self.encode = line_encoder(tokenizer)

    def __call__(self, block: TextBlock) -> EncodedBlock:
        """Return the ids of a block.

        Raises:
            UserError: not UTF-8, or a JSON record without text.
        """
        parsed = parse(block, self.key, self.whole)
        ids, sizes = self.encode(parsed.lines)
        return EncodedBlock(ids, sizes, np.array(parsed.starts, np.int64))


class LineEncoder:
    """Encode lines with any tokenizer, one at a time."""

    def __init__(self, tokenizer: LineTokenizer):
        dictionary = tokenizer.dictionary()
        self.tokenizer = tokenizer
        self.indices = dictionary.indices
        self.unk, self.eos = dictionary.unk(), dictionary.eos()
        self.dtype = np.dtype(indexed_dataset.best_fitting_int_dtype(len(dictionary)))

    def __call__(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all lines, each followed by ``</s>``, and the number of ids of each line."""
        rows = [self.line(line) for line in lines]
        return self.joined(rows)

    def joined(self, rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of ids as one array, and the length of each; ``</s>`` follows a row that is not empty."""
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        total = int(sizes.sum())
        flat = np.fromiter(itertools.chain.from_iterable(rows), self.dtype, total)
        filled = sizes > 0
        ends = np.cumsum(sizes)[filled]
        return np.insert(flat, ends, self.eos), sizes + filled

    def line(self, line: str) -> list[int]:
        """Return the ids of a line."""
        if len(line) > _LONG_LINE:
            return [index for part in cut([line], _LONG_LINE) for index in self.short_line(part)]
        return self.short_line(line)

    def short_line(self, line: str) -> list[int]:
        """Return the ids of a line or part of a line."""
        return [self.indices.get(symbol, self.unk) for symbol in self.tokenizer.encode(line)]


class SentencePieceEncoder(LineEncoder):
    """Encode lines in one call of sentencepiece, with the same ids as :class:`LineEncoder`.

    Its pieces are translated by a table. A piece that is unknown or contains white space needs the text of the piece:
    its line is encoded by :class:`LineEncoder`.
    """

    def __init__(self, tokenizer: SentencePieceTokenizer):
        super().__init__(tokenizer)
        self.processor = tokenizer.processor
        pieces = [self.processor.IdToPiece(index) for index in range(self.processor.GetPieceSize())]
        self.table = [self.indices.get(piece, self.unk) for piece in pieces]
        self.special = {
            index
            for index, piece in enumerate(pieces)
            if piece.split() != [piece] or piece not in self.indices or self.processor.IsUnknown(index)
        }

    def __call__(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        short = ["" if len(line) > _LONG_LINE else line for line in lines]
        table, special = self.table, self.special
        rows = []
        for line, pieces in zip(lines, self.processor.Encode(short, out_type=int, num_threads=1), strict=True):
            if len(line) > _LONG_LINE or not special.isdisjoint(pieces):
                rows.append(self.line(line))
            else:
                rows.append([table[piece] for piece in pieces])
        return self.joined(rows)


class GPT2Encoder(LineEncoder):
    """Encode lines with GPT-2's byte-pair encoding, whose words are looked up in a cache of bounded size."""

    def __init__(self, tokenizer: GPT2Tokenizer):
        super().__init__(tokenizer)
        self.encoder = tokenizer.encoder
        self.known = _KnownWords(self)

    def __call__(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self.line(line) for line in lines]
        if len(self.known) > _KNOWN_WORDS:
            self.known.clear()
            self.encoder.cache.clear()
        return self.joined(rows)

    def short_line(self, line: str) -> list[int]:
        """Return the ids of a line or part of a line; words are cached."""
        ids = map(self.known.__getitem__, self.encoder.pat.findall(line))
        return list(itertools.chain.from_iterable(ids))

    def word(self, word: str) -> tuple[int, ...]:
        """Return the ids of one match of GPT-2's pattern."""
        symbols = self.encoder.bpe("".join(map(self.encoder.byte_encoder.__getitem__, word.encode())))
        indices = (str(self.encoder.encoder[symbol]) for symbol in symbols.split(" "))
        return tuple(self.indices.get(index, self.unk) for index in indices)


class _KnownWords(dict):
    """The ids of words, computed when first asked for."""

    def __init__(self, encoder: GPT2Encoder):
        super().__init__()
        self.encoder = encoder

    def __missing__(self, word: str) -> tuple[int, ...]:
        self[word] = ids = self.encoder.word(word)
        return ids


def line_encoder(tokenizer: LineTokenizer) -> LineEncoder:
    """Return the fastest encoder for a tokenizer."""
    if type(tokenizer) is SentencePieceTokenizer:
        return SentencePieceEncoder(tokenizer)
    if type(tokenizer) is GPT2Tokenizer:
        return GPT2Encoder(tokenizer)
    return LineEncoder(tokenizer)
