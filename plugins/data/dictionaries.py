"""Dictionaries whose ``<mask>`` may have no row in the embedding table."""

import hashlib
import logging
import os

from fairseq.data import Dictionary

from plugins.errors import UserError

logger = logging.getLogger(__name__)

MASK = "<mask>"
FILLER = "madeupword"
TRIMMABLE = (2, 3)  # how many fillers the published zero-mask checkpoints lack


class MaskDictionary(Dictionary):
    """A fairseq dictionary with a ``<mask>``: its last row, or a word without a row whose index is ``len(self)``.

    The rowless mask can be looked up by word and by index like any other, but does not count in the length.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mask_has_row = True

    @classmethod
    def load(cls, path, add_special_symbols=True):
        """Read a ``dict.txt``.

        Raises:
            UserError: no such file, or not in fairseq's format.
        """
        if not os.path.exists(path):
            raise UserError(f"{path}: no such dictionary; prepare the data with scripts/prepare_mlm.py")
        try:
            return super().load(path, add_special_symbols)
        except Exception as error:  # fairseq raises plain Exception on a file that is not UTF-8
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: not a fairseq dictionary of lines 'word count' ({reason})") from error

    def add_mask(self):
        """Give ``<mask>`` a row, the last one."""
        self.mask_has_row = True
        super().add_symbol(MASK)

    def add_symbol(self, word, n=1, overwrite=False):
        if word == MASK and not self.mask_has_row:  # fairseq's own tasks add a mask to whatever dictionary they get
            return len(self)
        return super().add_symbol(word, n, overwrite)

    def omit_mask(self):
        """Take the row of ``<mask>`` away, if it has one."""
        if MASK in self.indices:
            if self.indices[MASK] != len(self) - 1:
                raise UserError(f"{MASK} is a word of dict.txt, so its row cannot be omitted; remove it there")
            self.truncate(len(self) - 1)
        self.mask_has_row = False

    def truncate(self, rows):
        """Keep the first ``rows`` words."""
        for word in self.symbols[rows:]:
            del self.indices[word]
        del self.symbols[rows:], self.count[rows:]

    def index(self, sym):
        return len(self) if sym == MASK and not self.mask_has_row else super().index(sym)

    def __getitem__(self, idx):
        return MASK if idx == len(self) and not self.mask_has_row else super().__getitem__(idx)

    def __contains__(self, sym):
        return super().__contains__(sym) or (sym == MASK and not self.mask_has_row)


def unused_words(dictionary):
    """Return the indices of the words that are never a target: ``<pad>`` and fillers."""
    return [i for i, word in enumerate(dictionary.symbols) if i == dictionary.pad() or word.startswith(FILLER)]


def fingerprint(dictionary):
    """Return the SHA-256 of the words in their order, without the mask, and without fillers, which may be trimmed."""
    words = [word for word in dictionary.symbols if word != MASK and not word.startswith(FILLER)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def check_same(dictionary, saved_fingerprint, source):
    """Compare a dictionary with that of a checkpoint, where the checkpoint says.

    Raises:
        UserError: they differ, so every word would be taken for another.
    """
    if saved_fingerprint is not None and saved_fingerprint != fingerprint(dictionary):
        raise UserError(f"dict.txt is not the dictionary that {source} was trained with; use the one beside it")


def fit(dictionary, rows):
    """Make a dictionary as long as an embedding table.

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
