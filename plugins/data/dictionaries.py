"""Dictionaries whose ``<mask>`` may have no row in the embedding table."""

import hashlib
import itertools
import logging
import os
from typing import Any

from fairseq.data import Dictionary

from plugins.errors import UserError, shortened

logger = logging.getLogger(__name__)

MASK = "<mask>"
FILLER = "madeupword"
TRIMMABLE = (2, 3)  # number of fillers that the published zero-mask checkpoints lack


class MaskDictionary(Dictionary):
    """A fairseq dictionary with a ``<mask>`` that is its last row, or has no row and the index ``len(self)``.

    A mask without a row can be looked up by word and by index, but is not counted in the length.

    Attributes:
        mask_has_row: whether ``<mask>`` has a row.
        padding: indices of the fillers that :meth:`pad_to_multiple` added, which are not words of ``dict.txt``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.mask_has_row = True
        self.padding = range(0)

    @classmethod
    def load(cls, path: str, add_special_symbols: bool = True) -> "MaskDictionary":
        """Read a ``dict.txt``.

        Raises:
            UserError: no such file, or not in fairseq's format.
        """
        if not os.path.exists(path):
            raise UserError(f"{path}: no such dictionary; prepare the data with scripts/prepare_mlm.py")
        try:
            return super().load(path, add_special_symbols)
        except Exception as error:  # fairseq raises plain Exception on a file that is not UTF-8
            reason = shortened(str(error))
            raise UserError(f"{path}: not a fairseq dictionary of lines 'word count' ({reason})") from error

    def add_mask(self) -> None:
        """Add ``<mask>`` as the last row."""
        self.mask_has_row = True
        super().add_symbol(MASK)

    def add_symbol(self, word: str, n: int = 1, overwrite: bool = False) -> int:
        """Add a symbol as fairseq's dictionary does, except ``<mask>`` if it has no row; return its index."""
        if word == MASK and not self.mask_has_row:  # fairseq's own tasks add a mask to any dictionary
            return len(self)
        return super().add_symbol(word, n, overwrite)

    def omit_mask(self) -> None:
        """Remove the row of ``<mask>``, if it has one.

        Raises:
            UserError: ``<mask>`` is a word of the dictionary file.
        """
        if MASK in self.indices:
            if self.indices[MASK] != len(self) - 1:
                raise UserError(f"{MASK} is a word of dict.txt, so its row cannot be omitted; remove it there")
            self.truncate(len(self) - 1)
        self.mask_has_row = False

    def pad_to_multiple(self, multiple: int) -> None:
        """Add fillers before the mask, so that the length is a multiple. Nothing happens the second time."""
        missing = -len(self) % multiple
        if not missing:
            return
        masked = MASK in self.indices and self.indices[MASK] == len(self) - 1
        start = len(self) - masked
        names = (f"{FILLER}{i:04d}" for i in itertools.count())
        fillers = list(itertools.islice((name for name in names if name not in self.indices), missing))
        self.symbols[start:start], self.count[start:start] = fillers, [0] * missing
        self.indices.update((word, start + i) for i, word in enumerate(self.symbols[start:]))
        self.padding = range(start, start + missing)

    def truncate(self, rows: int) -> None:
        """Keep the first ``rows`` words."""
        for word in self.symbols[rows:]:
            del self.indices[word]
        del self.symbols[rows:], self.count[rows:]

    def index(self, sym: str) -> int:
        """Return the index of a symbol; that of ``<mask>`` without a row is the number of rows."""
        return len(self) if sym == MASK and not self.mask_has_row else super().index(sym)

    def __getitem__(self, idx: int) -> str:
        return MASK if idx == len(self) and not self.mask_has_row else super().__getitem__(idx)

    def __contains__(self, sym: str) -> bool:
        return super().__contains__(sym) or (sym == MASK and not self.mask_has_row)


def unused_words(dictionary: Dictionary) -> list[int]:
    """Return the indices of words that are never a target: ``<pad>`` and fillers."""
    return [i for i, word in enumerate(dictionary.symbols) if i == dictionary.pad() or word.startswith(FILLER)]


def excluded_words(dictionary: Dictionary, unused: bool) -> list[int]:
    """Return the indices of words that no head predicts.

    Args:
        dictionary: the dictionary.
        unused: also those of :func:`unused_words` (``--exclude-unused``), not only the padding of the dictionary.
    """
    return unused_words(dictionary) if unused else list(getattr(dictionary, "padding", ()))


def fingerprint(dictionary: Dictionary) -> str:
    """Return the SHA-256 of the words in order, without the mask and without fillers, which may be trimmed."""
    words = [word for word in dictionary.symbols if word != MASK and not word.startswith(FILLER)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def check_same(dictionary: Dictionary, saved_fingerprint: str | None, source: str) -> None:
    """Compare a dictionary with the fingerprint in a checkpoint, if it has one.

    Raises:
        UserError: they differ, so words would be confused.
    """
    if saved_fingerprint is not None and saved_fingerprint != fingerprint(dictionary):
        raise UserError(f"dict.txt is not the dictionary that {source} was trained with; use the one in its folder")


def fit(dictionary: Dictionary, rows: int) -> None:
    """Trim a dictionary to the length of an embedding table.

    The published zero-mask checkpoints lack the last two or three ``madeupword`` fillers; those are trimmed.

    Raises:
        UserError: any other difference.
    """
    excess = len(dictionary) - rows
    if excess == 0:
        return
    fillers = dictionary.symbols[rows:]
    trimmable = excess in TRIMMABLE and all(word.startswith(FILLER) for word in fillers)
    if not (trimmable and isinstance(dictionary, MaskDictionary) and not dictionary.mask_has_row):
        raise UserError(
            f"the dictionary has {len(dictionary)} words and the embedding table {rows} rows; use the dict.txt that "
            "the checkpoint was trained with"
        )
    dictionary.truncate(rows)
    logger.info("trimmed %s from the dictionary: the embedding table has %d rows", ", ".join(fillers), rows)
