"""A dictionary of characters or bytes, without any special symbol."""

import unicodedata
from collections.abc import Iterable

import numpy as np
import torch
from fairseq.data import Dictionary
from numpy.typing import ArrayLike

from plugins.errors import UserError

BYTES = [chr(value) for value in range(256)]
UNITS = ("char", "byte")


class CharDictionary(Dictionary):
    """Characters in any order, numbered from 0 to V-1; or all 256 bytes.

    No special symbol has a row in the embedding table: ``pad() == eos() == bos() == unk() == len(self) == V``.

    Attributes:
        unit: "char" or "byte".
        characters: V strings of one character; bytes are written as Latin-1.

    Raises:
        ValueError: a character occurs twice, or the bytes are not all 256 in order.
    """

    def __init__(self, characters: Iterable[str], unit: str = "char"):
        super().__init__(add_special_symbols=False)
        self.unit = unit
        self.symbols = self.characters = list(characters)
        self.count = [1] * len(self.symbols)
        self.indices = {symbol: index for index, symbol in enumerate(self.symbols)}
        self.nspecial = 0
        self.bos_index = self.pad_index = self.eos_index = self.unk_index = len(self.symbols)
        self.codes = np.array([ord(symbol) for symbol in self.symbols], np.uint32)  # (V,)
        if len(self.indices) < len(self.symbols) or (unit == "byte" and self.symbols != BYTES):
            raise ValueError("a character occurs twice, or the bytes are not all 256 in order")

    def controls(self) -> list[str]:
        """Return the control characters, such as a carriage return, except line feed and tabulator; none of bytes."""
        found = [each for each in self.characters if unicodedata.category(each) == "Cc" and each not in "\n\t"]
        return found if self.unit == "char" else []

    @classmethod
    def of_bytes(cls) -> "CharDictionary":
        """Return the dictionary of all 256 bytes."""
        return cls(BYTES, "byte")

    def state(self) -> dict:
        """Return the dictionary as plain data."""
        return {"unit": self.unit, "characters": list(self.characters)}

    @classmethod
    def from_state(cls, state: dict) -> "CharDictionary":
        """Return the dictionary for the result of :meth:`state`."""
        return cls(state["characters"], state["unit"])

    def encode(self, text: str | bytes) -> torch.Tensor:
        """Return the ids of a text, (N,) int64.

        Raises:
            UserError: a character is not in the dictionary; the first one is named.
        """
        if self.unit == "byte":
            data = text.encode("utf-8", "replace") if isinstance(text, str) else text
            return torch.from_numpy(np.frombuffer(data, np.uint8).astype(np.int64))
        assert isinstance(text, str), "characters are of a text, not of bytes"
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)  # (N,)
        ids = self.ids_of(int(codes.max(initial=0)))[codes]
        unseen = np.flatnonzero(ids == len(self))
        if len(unseen):
            character = text[unseen[0]]
            raise UserError(
                f"{describe(character)} at character {unseen[0] + 1} of the text was never seen in training; remove "
                "or replace it"
            )
        return torch.from_numpy(ids)

    def ids_of(self, last: int) -> np.ndarray:
        """Return the id of each code point, (at least ``last`` + 1,) int64; V for those without one."""
        table = np.full(max(last, int(self.codes.max())) + 1, len(self), np.int64)
        table[self.codes] = np.arange(len(self))
        return table

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of ids without padding. Bytes that are not UTF-8 become U+FFFD."""
        kept = [i for i in np.asarray(ids).tolist() if i != len(self)]
        if self.unit == "byte":
            return bytes(kept).decode("utf-8", "replace")
        return "".join(self.characters[i] for i in kept)


def describe(character: str) -> str:
    """Return a character in the form of error messages: ``'é' (U+00E9)``."""
    return f"{character!r} (U+{ord(character):04X})"
