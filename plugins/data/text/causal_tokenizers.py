"""Tokenizers of causal language models: byte-level BPE, sentencepiece, or characters.

Each tokenizer numbers its symbols from 0 without a gap, keeps line breaks and blanks where its files allow it, and is
read from local files that are stored with a checkpoint. Special symbols are never read from text: ``<|endoftext|>`` in
a document is encoded as the symbols of its letters, not as the end of the document.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from plugins.data.text.byte_pairs import BytePairEncoder
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.tokenizers import SENTENCEPIECE_FILE, SentencePieceTokenizer
from plugins.data.text.tokenizers_library import (
    CONFIG_FILE,
    TOKENIZERS_FILE,
    LibraryTokenizer,
    check_indices,
    content_of,
    read_content,
)
from plugins.errors import UserError
from plugins.files import read_json, read_text

BPE_FILES = ("vocab.json", "merges.txt")  # Hugging Face's names
FAIRSEQ_BPE_FILES = ("encoder.json", "vocab.bpe")  # the same files, as OpenAI and fairseq name them
CHARACTERS_FILE = "characters.json"
ENDS = ("<|endoftext|>", "</s>")  # document end: the first one in the vocabulary, unless the files name another


class CausalTokenizer(Protocol):
    """The tokenizer interface of :class:`plugins.data.text.token_dictionary.TokenDictionary`."""

    symbols: list[str]
    extra: dict[str, int]
    """Further symbols in the files, which no text is encoded to."""

    def encode(self, text: str) -> list[int]:
        """Return the indices of the symbols of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of indices below ``len(symbols)``."""

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that the tokenizer can be read from, by name."""


class ByteLevelBPE:
    """GPT-2's byte-pair encoding of UTF-8 (Radford et al., 2019, section 2.2).

    Args:
        vocabulary: {symbol: index}, where bytes are written as GPT-2 writes them.
        merges: pairs of symbols, the most frequent first.
        extra: {symbol: index} of symbols that are never read from text.
        source: the source named in errors.

    Raises:
        UserError: indices have gaps, or the result of a merge is not a symbol.
    """

    def __init__(
        self,
        vocabulary: dict,
        merges: Sequence[Sequence[str]],
        extra: dict | None = None,
        source: object = "BPE",
    ):
        self.source, self.merges = source, [tuple(pair) for pair in merges]
        self.symbols = in_order(vocabulary, source)
        self.extra = {symbol: index for symbol, index in (extra or {}).items() if symbol not in vocabulary}
        for pair in self.merges:
            if len(pair) != 2 or "".join(pair) not in vocabulary:
                raise UserError(f"{source}: the merge {' '.join(pair)!r} does not give a symbol of the vocabulary")
        self._encoder = BytePairEncoder(vocabulary, self.merges)
        self._missing = {byte: char for byte, char in bytes_to_unicode().items() if char not in vocabulary}

    def encode(self, text: str) -> list[int]:
        """Return the indices of a text.

        Raises:
            UserError: the vocabulary has no symbol for one of its bytes.
        """
        if self._missing:
            byte = next((byte for byte in text.encode() if byte in self._missing), None)
            if byte is not None:
                raise UserError(f"{self.source}: no symbol for the byte {byte:#04x}, which the text contains")
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
    """Read a tokenizer from its file or its folder.

    A folder may contain ``tokenizer.json``; ``vocab.json`` and ``merges.txt``; ``encoder.json`` and ``vocab.bpe``;
    ``sentencepiece.bpe.model``; or ``characters.json``.

    Raises:
        UserError: there is none, or a file is damaged or requires what GPT-2's encoding does not support.
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
    """Read a byte-level BPE from a vocabulary ({symbol: index}) and a file of merges.

    Raises:
        UserError: a file is missing or damaged.
    """
    lines = read_text(merges).splitlines()
    pairs = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    return ByteLevelBPE(read_json(vocabulary, dict), pairs, source=str(vocabulary))


def read_characters(path: Path) -> Characters:
    """Read a JSON list of single characters.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return Characters(read_json(path, list))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a list of single characters ({error})") from None


def read_tokenizers_file(path: Path) -> "ByteLevelBPE | LibraryTokenizer":
    """Read a ``tokenizer.json``, with the ends of a document that ``tokenizer_config.json`` in its folder names.

    Raises:
        UserError: it is damaged, or the tokenizers library refuses it.
    """
    content, place = read_content(path), path.with_name(CONFIG_FILE)
    config = read_json(place, dict) if place.exists() else {}
    begin, end = (content_of(config.get(name)) for name in ("bos_token", "eos_token"))
    if not all(isinstance(token, str | None) for token in (begin, end)):
        raise UserError(f"{place}: bos_token and eos_token must be strings, or objects with a content")
    split = config.get("split_special_tokens")
    if not isinstance(split, bool | None):  # Python takes the string "false" for true
        raise UserError(f"{place}: split_special_tokens must be true or false")
    either = begin or end
    ends = (begin or either, end or either) if either else None
    stated = [(token["content"], token["id"]) for token in content.get("added_tokens") or ()]
    added, model = dict(stated), content.get("model") or {}
    if not is_gpt2(content) or set(added) - {*ENDS, *(ends or ())} or (ends and ends[0] != ends[1]):
        ends = ends or next(((end, end) for end in ENDS if end in added), None)
        return LibraryTokenizer(content, ends, bool(split), path)
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model.get("merges") or ()]
    vocabulary = model.get("vocab") or {}
    check_indices(stated, added | vocabulary, path)
    return ByteLevelBPE(vocabulary, merges, added, str(path))


def is_gpt2(content: Mapping) -> bool:
    """Return whether the parsed ``tokenizer.json`` is a byte-level BPE without any option, as GPT-2's is."""
    model, before = content.get("model") or {}, content.get("pre_tokenizer") or {}
    options = ("normalizer", "dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    return (
        not any({**content, **model}.get(name) for name in options)
        and model.get("type") == "BPE"
        and not model.get("ignore_merges")
        and before.get("type") == "ByteLevel"
        and not before.get("add_prefix_space")
        and before.get("use_regex", True)
    )


def in_order(indices: dict[str, int], source: object) -> list[str]:
    """Return the keys in the order of their indices.

    Raises:
        UserError: these are not 0, 1, 2, ...; a symbol is named.
    """
    other = next((f"{symbol!r} has {index!r}" for symbol, index in indices.items() if type(index) is not int), None)
    if other is not None:
        raise UserError(f"{source}: not a table of symbols and their indices: {other}")
    symbols = sorted(indices, key=indices.__getitem__)
    wrong = next((i for i, symbol in enumerate(symbols) if indices[symbol] != i), None)
    if wrong is None and symbols:
        return symbols
    found = f"; the next one, {symbols[wrong]!r}, has {indices[symbols[wrong]]}" if wrong is not None else ""
    if wrong is not None and 0 <= indices[symbols[wrong]] < wrong:
        raise UserError(f"{source}: {symbols[wrong - 1]!r} and {symbols[wrong]!r} have the same index {wrong - 1}")
    raise UserError(f"{source}: no symbol has index {wrong or 0}{found}")
