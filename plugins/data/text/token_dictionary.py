"""The dictionary of a causal language model: exactly the rows of its embedding table, in the tokenizer's order."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from fairseq.data import Dictionary
from numpy.typing import ArrayLike

from plugins.data.dictionaries import FILLER
from plugins.data.text.causal_tokenizers import ENDS, CausalTokenizer, in_order, read_tokenizer
from plugins.errors import UserError
from plugins.files import read_json, replacing

ADDED_FILE = "added_tokens.json"  # Hugging Face's name: {symbol: index}
END = ENDS[0]
UNKNOWN = "<unk>"


class TokenDictionary(Dictionary):
    """A tokenizer's symbols at 0 to V-1, then added symbols, without fairseq's own special symbols.

    ``bos()`` begins and ``eos()`` ends a document: what the tokenizer's files name, else both are ``<|endoftext|>`` (or
    ``</s>``), which is added where the tokenizer has none. ``pad()`` is ``len(self)``, which has no row: it occurs only
    in targets, at positions without a prediction. Inputs may be padded with any symbol on the right.

    Attributes:
        tokenizer: converts text to indices.
        added: symbols after those of the tokenizer, such as a separator; no text becomes one of them.
    """

    def __init__(self, tokenizer: CausalTokenizer, added: Iterable[str] = ()):
        super().__init__(add_special_symbols=False)
        self.tokenizer = tokenizer
        self.symbols, self.nspecial = list(tokenizer.symbols), 0
        self.count = [1] * len(self.symbols)
        self.indices = {symbol: index for index, symbol in enumerate(self.symbols)}
        self.added: list[str] = []
        for symbol in added:
            self.add_symbol(symbol)
        end = next((symbol for symbol in ENDS if symbol in self.indices), END)
        bos, eos = getattr(tokenizer, "ends", None) or (end, end)
        self.bos_index, self.eos_index = self.add_symbol(bos), self.add_symbol(eos)

    def pad(self) -> int:
        return len(self)

    def unk(self) -> int:
        return self.indices.get(UNKNOWN, len(self))

    def index(self, sym: str) -> int:
        return self.indices.get(sym, self.unk())

    def add_symbol(self, word: str, n: int = 1, overwrite: bool = False) -> int:
        """Return the index of a symbol, which is added as the last row if it is new."""
        if word not in self.indices:
            self.indices[word] = len(self.symbols)
            self.symbols.append(word)
            self.count.append(n)
            self.added.append(word)
        return self.indices[word]

    def fill(self, rows: int) -> None:
        """Add fillers up to the number of rows of an embedding table."""
        for i in range(len(self), rows):
            self.add_symbol(f"{FILLER}{i:04d}")

    def encode(self, text: str) -> torch.Tensor:
        """Return the indices of a text, (N,) int64, without an end-of-document symbol.

        Raises:
            UserError: a part of the text has no symbol.
        """
        return torch.tensor(self.tokenizer.encode(text), dtype=torch.long)

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of indices without padding; added symbols are written as they are."""
        text, plain = [], []
        for i in [*torch.as_tensor(ids).tolist(), None]:
            if i is not None and i < len(self.tokenizer.symbols) and i not in (self.bos_index, self.eos_index):
                plain.append(i)
                continue
            if plain:
                text.append(self.tokenizer.decode(plain))
                plain = []
            if i is not None and i < len(self):
                text.append(self.symbols[i])
        return "".join(text)

    # Files

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that the dictionary can be read from, by name."""
        first = len(self.symbols) - len(self.added)
        added = {symbol: first + i for i, symbol in enumerate(self.added)}
        more = {ADDED_FILE: json.dumps(added, ensure_ascii=False).encode()} if added else {}
        return self.tokenizer.files() | more

    def fingerprint(self) -> str:
        """Return a SHA-256 of everything that determines the indices of a text, such as merges and scores of pieces."""
        total = hashlib.sha256()
        for name, content in sorted(self.files().items()):
            total.update(name.encode() + hashlib.sha256(content).digest())
        return total.hexdigest()

    def save_files(self, folder: str | os.PathLike) -> None:
        """Write the files to a folder, each atomically; identical files are not rewritten."""
        for name, content in self.files().items():
            path = os.path.join(folder, name)
            if not (os.path.exists(path) and Path(path).read_bytes() == content):
                with replacing(path) as part:
                    part.write_bytes(content)

    @classmethod
    def from_files(cls, path: str | os.PathLike) -> "TokenDictionary":
        """Read the tokenizer in a folder, or a tokenizer's file; see :func:`.causal_tokenizers.read_tokenizer`.

        Raises:
            UserError: there is none, or a file is damaged.
        """
        tokenizer = read_tokenizer(os.fspath(path))
        extra, source = tokenizer.extra, Path(path)
        if (source / ADDED_FILE).exists():
            source = source / ADDED_FILE
            extra = extra | read_json(source, dict)
        known = {symbol: index for index, symbol in enumerate(tokenizer.symbols)}
        return cls(tokenizer, in_order(known | extra, source)[len(known) :])


def check_size(dictionary: TokenDictionary, rows: int, source: object) -> None:
    """Compare a dictionary with the embedding table of a checkpoint.

    Raises:
        UserError: their sizes differ.
    """
    if len(dictionary) != rows:
        raise UserError(
            f"{source}: its table has {rows} rows, but its tokenizer has {len(dictionary)} symbols; they must be "
            "those that it was trained with"
        )
