"""Texts to the tokens that each model reads, with the symbols around them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from plugins.data.dictionaries import fingerprint
from plugins.data.glue.dataset import FolderTokenizer
from plugins.data.text import bpe
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError

MASKED, CAUSAL, CHARACTERS = "clap_roberta", "causal_lm", "char_lm"


class TextEncoder:
    """A tokenizer with the symbols that its model expects.

    Args:
        dictionary: dictionary of the model.
        tokens: from a text to its ids, a sequence.
        before, after: ids around those of a text.
        pad: the id at padding, which has a row in the model's table.
        save: writes the tokenizer's files to a folder.
    """

    def __init__(
        self,
        dictionary: Any,
        tokens: Callable[[str], Sequence[int]],
        before: tuple = (),
        after: tuple = (),
        pad: int = 0,
        save: Callable[[str], None] = lambda folder: None,
    ):
        self.dictionary, self.tokens, self.before, self.after = dictionary, tokens, before, after
        self.pad, self.save = pad, save

    def __call__(self, text: str, longest: int) -> np.ndarray:
        """Return the ids (T,) int64 of a text, truncated to ``longest`` with the symbols around it.

        Raises:
            UserError: the text has no tokens, or a character that the model does not know or UTF-8 cannot encode.
        """
        check_encodable(text)
        room = longest - len(self.before) - len(self.after)
        ids = np.array([*self.before, *self.tokens(text)[:room], *self.after], np.int64)
        if not len(ids):
            raise UserError(f"{text!r}: no tokens to embed")
        return ids

    def batch(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Pad rows of ids on the right; return them, (B, T) int64, and their lengths, (B,)."""
        sizes = np.array([len(row) for row in rows])
        tokens = np.full((len(rows), sizes.max()), self.pad, np.int64)
        for padded, row in zip(tokens, rows, strict=True):
            padded[: len(row)] = row
        return tokens, sizes

    def identity(self) -> dict:
        """Return what a checkpoint stores to recognize its dictionary."""
        if isinstance(self.dictionary, CharDictionary):
            return {"dictionary": self.dictionary.state()}
        return {"dictionary_sha256": fingerprint(self.dictionary)}


def check_encodable(text: str) -> None:
    """Raise an error for half a surrogate pair: of JSON, or of bytes on the command line that are not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"{text[:60]!r}: character {error.start} is half a surrogate pair, not text") from None


def masked(folder: str) -> TextEncoder:
    """Return the encoder of a masked LM, ``<s> text </s>``, whose dictionary and tokenizer are in a folder.

    Raises:
        UserError: they are not there.
    """
    return of_tokenizer(FolderTokenizer(folder))


def of_tokenizer(tokenizer: FolderTokenizer) -> TextEncoder:
    """Return the encoder of a masked LM with this tokenizer."""
    dictionary = tokenizer.dictionary
    around = (dictionary.bos(),), (dictionary.eos(),)
    return TextEncoder(
        dictionary, tokenizer.encode, *around, dictionary.pad(), lambda target: bpe.copy(tokenizer.folder, target)
    )


def causal(dictionary: TokenDictionary) -> TextEncoder:
    """Return the encoder of a causal LM: the end of the document before, then the text."""
    return TextEncoder(
        dictionary, lambda text: dictionary.encode(text).tolist(), (dictionary.bos(),), (), dictionary.eos(),
        dictionary.save_files,
    )  # fmt: skip


def characters(dictionary: CharDictionary) -> TextEncoder:
    """Return the encoder of a character LM: text without special tokens."""
    return TextEncoder(dictionary, lambda text: dictionary.encode(text).tolist())


def encode_all(texts: Iterable[str], encoder: TextEncoder, longest: int, names: Iterable[object]) -> list[np.ndarray]:
    """Return the ids (T,) int32 of texts; an error names the text it is in.

    Raises:
        UserError: as :class:`TextEncoder`.
    """
    rows = []
    for text, name in zip(texts, names, strict=True):
        try:
            rows.append(encoder(text, longest).astype(np.int32))
        except UserError as error:
            raise UserError(f"row {name}: {error}") from None
    return rows
