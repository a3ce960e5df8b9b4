"""Text to the numbers of a causal language model and back: byte-level BPE, sentencepiece, or characters.

Each tokenizer numbers its symbols from 0 without a gap, keeps line breaks and blanks where its files allow it, and is
read from local files that travel beside a checkpoint. Text is only ever text: ``<|endoftext|>`` written in a document
becomes the symbols of its letters, not the end of the document.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fairseq.data.encoders.gpt2_bpe_utils import Encoder, bytes_to_unicode

from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.tokenizers import SENTENCEPIECE_FILE, SentencePieceTokenizer
from plugins.errors import UserError

BPE_FILES = ("vocab.json", "merges.txt")  # Hugging Face's names
FAIRSEQ_BPE_FILES = ("encoder.json", "vocab.bpe")  # the same files, as OpenAI and fairseq name them
TOKENIZERS_FILE = "tokenizer.json"  # both in one, as the tokenizers library writes it
CHARACTERS_FILE = "characters.json"


class CausalTokenizer(Protocol):
    """What :class:`plugins.data.text.token_dictionary.TokenDictionary` asks of a tokenizer."""

    symbols: Sequence[str]
    extra: dict[str, int]
    """Symbols beyond these that the files name: they stand for themselves and come from no text."""

    def encode(self, text: str) -> list[int]:
        """Return the indices of the symbols of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of indices below ``len(symbols)``."""

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that the tokenizer can be read from, by name."""


class ByteLevelBPE:
    """GPT-2's byte-pair encoding of UTF-8 (Radford et al., 2019, section 2.2).

    Args:
        vocabulary: {symbol: index}, in which GPT-2's stand-in for each byte is a symbol.
        merges: pairs of symbols, the most frequent first.
        extra: {symbol: index} of those that come from no text.
        source: what the errors name.

    Raises:
        UserError: indices have gaps, or a merge gives no symbol.
    """

    def __init__(self, vocabulary: dict, merges: Sequence[tuple[str, str]], extra: dict | None = None, source="BPE"):
        self.source, self.merges = source, [tuple(pair) for pair in merges]
        self.symbols = in_order(vocabulary, source)
        self.extra = {symbol: index for symbol, index in (extra or {}).items() if symbol not in vocabulary}
        for pair in self.merges:
            if len(pair) != 2 or "".join(pair) not in vocabulary:
                raise UserError(f"{source}: the merge {' '.join(pair)!r} gives no symbol of the vocabulary")
        self._encoder = Encoder(vocabulary, self.merges)
        self._missing = {byte: char for byte, char in bytes_to_unicode().items() if char not in vocabulary}

    def encode(self, text: str) -> list[int]:
        """Return the indices of a text.

        Raises:
            UserError: the vocabulary has no symbol for one of its bytes.
        """
        if self._missing:
            byte = next((byte for byte in text.encode() if byte in self._missing), None)
            if byte is not None:
                raise UserError(f"{self.source}: no symbol for the byte {byte:#04x}, which the text holds")
        return self._encoder.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        symbols, back = "".join(self.symbols[i] for i in ids), self._encoder.byte_decoder
        return b"".join(bytes([back[c]]) if c in back else c.encode() for c in symbols).decode("utf-8", "replace")

    def files(self) -> dict[str, bytes]:
        vocabulary = {symbol: index for index, symbol in enumerate(self.symbols)}
        merges = ["#version: 0.2", *map(" ".join, self.merges)]
        contents = (json.dumps(vocabulary, ensure_ascii=False), "\n".join(merges) + "\n")
        return {name: content.encode() for name, content in zip(BPE_FILES, contents, strict=True)}


class SentencePieceVocabulary:
    """A sentencepiece model with its own numbering."""

    extra: dict[str, int] = {}

    def __init__(self, tokenizer: SentencePieceTokenizer):
        self.processor, self._files = tokenizer.processor, tokenizer.files
        self.symbols = [self.processor.IdToPiece(i) for i in range(self.processor.GetPieceSize())]

    def encode(self, text: str) -> list[int]:
        return self.processor.Encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.processor.Decode(list(ids))

    def files(self) -> dict[str, bytes]:
        return self._files()


class Characters:
    """Characters, in the order of their code points."""

    extra: dict[str, int] = {}

    def __init__(self, characters: Sequence[str]):
        self._dictionary = CharDictionary(characters)
        self.symbols = self._dictionary.characters

    def encode(self, text: str) -> list[int]:
        """Return the indices of a text.

        Raises:
            UserError: a character that is not one of them.
        """
        return self._dictionary.encode(text).tolist()

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.symbols[i] for i in ids)

    def files(self) -> dict[str, bytes]:
        return {CHARACTERS_FILE: json.dumps(self.symbols, ensure_ascii=False).encode()}


# Files


def read_tokenizer(path: str | Path) -> CausalTokenizer:
    """Read a tokenizer from its file, or from the folder that it lies in.

    A folder may hold ``tokenizer.json``; ``vocab.json`` and ``merges.txt``; ``encoder.json`` and ``vocab.bpe``;
    ``sentencepiece.bpe.model``; or ``characters.json``.

    Raises:
        UserError: there is none, or a file is damaged or asks for what GPT-2's encoding does not do.
    """
    path = Path(path)
    if path.is_dir():
        for names in (BPE_FILES, FAIRSEQ_BPE_FILES):
            if all((path / name).exists() for name in names) and not (path / TOKENIZERS_FILE).exists():
                return read_bpe(*(path / name for name in names))
        for name in (TOKENIZERS_FILE, SENTENCEPIECE_FILE, CHARACTERS_FILE):
            if (path / name).exists():
                return read_tokenizer(path / name)
        files = " or ".join([" and ".join(BPE_FILES), TOKENIZERS_FILE, SENTENCEPIECE_FILE, CHARACTERS_FILE])
        raise UserError(f"{path}: no tokenizer in this folder ({files})")
    if path.suffix == ".model":
        return SentencePieceVocabulary(SentencePieceTokenizer.from_file(path))
    if path.name == CHARACTERS_FILE:
        return read_characters(path)
    if path.suffix == ".json":
        return read_tokenizers_file(path)
    raise UserError(f"{path}: no tokenizer; name a folder with one, a .model file or a tokenizer.json")


def read_bpe(vocabulary: Path, merges: Path) -> ByteLevelBPE:
    lines = read_text(merges).splitlines()
    pairs = [tuple(line.split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
    return ByteLevelBPE(read_json(vocabulary, dict), pairs, source=str(vocabulary))


def read_characters(path: Path) -> Characters:
    try:
        return Characters(read_json(path, list))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a list of single characters ({error})") from None


def read_tokenizers_file(path: Path) -> ByteLevelBPE:
    """Read the ``tokenizer.json`` of a GPT-2.

    Raises:
        UserError: it is of another kind of tokenizer.
    """
    content = read_json(path, dict)
    model, before = content.get("model") or {}, content.get("pre_tokenizer") or {}
    plain = {"normalizer": None, "dropout": None, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    wrong = [name for name in plain if (content | model).get(name)]
    wrong += [] if model.get("type") == "BPE" else ["model"]
    wrong += [] if before.get("type") == "ByteLevel" and not before.get("add_prefix_space") else ["pre_tokenizer"]
    wrong += [] if before.get("use_regex", True) else ["use_regex"]
    if wrong:
        raise UserError(f"{path}: no byte-level BPE as GPT-2's: its {wrong[0]} is another")
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model.get("merges", ())]
    extra = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
    return ByteLevelBPE(model.get("vocab") or {}, merges, extra, str(path))


def in_order(indices: dict[str, int], source) -> list[str]:
    """Return the keys in the order of their indices.

    Raises:
        UserError: these are not 0, 1, 2, ...
    """
    try:
        symbols = sorted(indices, key=indices.__getitem__)
        gap = next((i for i, symbol in enumerate(symbols) if indices[symbol] != i), None)
    except TypeError:
        raise UserError(f"{source}: not a table of symbols and their indices") from None
    if gap is not None or not symbols:
        raise UserError(f"{source}: no symbol has index {gap or 0}")
    return symbols


def read_json(path: Path, kind: type):
    """Read a JSON file that holds a ``dict`` or a ``list``.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(content, kind):
        raise UserError(f"{path}: a {kind.__name__} is needed, and it holds a {type(content).__name__}")
    return content


def read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
