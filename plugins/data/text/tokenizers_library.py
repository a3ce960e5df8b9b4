"""Tokenizers that GPT-2's byte-level BPE does not cover, encoded by Hugging Face's tokenizers library itself."""

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.errors import UserError, check, shortened
from plugins.files import read_json

TOKENIZERS_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
LARGEST_GROWTH = 1000  # characters that a character may become
INSTALL = "pip install tokenizers (or pip install -e '.[hf]')"


class LibraryTokenizer:
    """A ``tokenizer.json`` as the tokenizers library encodes it, except that the ends of a document never match text.

    Tokens that were added to the vocabulary match in a text as they do in transformers.

    Args:
        content: the parsed file.
        ends: the symbols that begin and end a document; None where the files name none.
        split_special: no special token matches in a text (transformers' ``split_special_tokens``).
        source: named in errors.

    Raises:
        UserError: the library is missing or refuses the file, indices have gaps or are not those of added tokens, or
            replacements make a text more than :data:`LARGEST_GROWTH` times as long.
    """

    extra: dict[str, int] = {}

    def __init__(
        self,
        content: Mapping,
        ends: tuple[str, str] | None = None,
        split_special: bool = False,
        source: str | Path = TOKENIZERS_FILE,
    ):
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise UserError(f"{source}: not GPT-2's kind of tokenizer, which takes the library: {INSTALL}") from None
        content = dict(content)
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            if (growth := growth_of(content.get(part))) > LARGEST_GROWTH:
                raise UserError(f"{source}: the replacements of its {part} make a text {growth:.3g} times as long")
        if not split_special:
            # With encode_special_tokens, special tokens are text. Only those at the ends should be.
            added = content.get("added_tokens") or []
            content["added_tokens"] = [token | {"special": token.get("content") in (ends or ())} for token in added]
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(content))
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"{source}: refused by the tokenizers library ({shortened(str(error))})") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.symbols = sorted(vocabulary, key=vocabulary.__getitem__)
        gap = next((i for i, symbol in enumerate(self.symbols) if vocabulary[symbol] != i), None)
        if gap is not None or not self.symbols:
            raise UserError(f"{source}: no symbol has index {gap or 0}")
        stated = content.get("added_tokens") or []
        check_indices([(token["content"], token["id"]) for token in stated], vocabulary, source)
        self.ends, self.source = ends, source

    def encode(self, text: str) -> list[int]:
        """Return the indices of a text, without what a post-processor would put around it.

        Raises:
            UserError: a pattern of the file needs too many steps for the text (the library has a limit).
        """
        try:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of the library; not an Exception
                raise
            reason = shortened(str(error))
            raise UserError(f"{self.source}: the tokenizers library fails on a text ({reason})") from None

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of indices."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that the tokenizer can be read from, by name."""
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": True}
        if self.ends is not None:
            config |= {"bos_token": self.ends[0], "eos_token": self.ends[1]}
        return {
            TOKENIZERS_FILE: self._tokenizer.to_str().encode(),
            CONFIG_FILE: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
        }

    def __deepcopy__(self, memo: dict) -> "LibraryTokenizer":
        return self  # it does not change


def read_content(path: Path) -> dict[str, Any]:
    """Return the content of a ``tokenizer.json``, whose parts have the types that the format requires.

    Raises:
        UserError: it cannot be read, or a part has another type; the part is named.
    """
    content = read_json(path, dict)
    for part in ("model", "normalizer", "pre_tokenizer"):
        check(isinstance(content.get(part) or {}, dict), f"{path}: {part}: an object is expected")
    model, added = content.get("model") or {}, content.get("added_tokens") or []
    if model.get("type") == "BPE":
        check(isinstance(model.get("vocab") or {}, dict), f"{path}: model: vocab: an object is expected")
        merges = model.get("merges") or []
        pairs = isinstance(merges, list) and all(
            isinstance(m, str) or (isinstance(m, list) and all(isinstance(symbol, str) for symbol in m)) for m in merges
        )
        check(pairs, f"{path}: model: merges: a list of pairs of symbols is expected")
    known = isinstance(added, list) and all(
        isinstance(token, dict) and isinstance(token.get("content"), str) and type(token.get("id")) is int
        for token in added
    )
    check(known, f"{path}: added_tokens: a list of objects with a content and an id is expected")
    return content


def check_indices(stated: Iterable[tuple[str, int]], vocabulary: Mapping[str, int], source: object) -> None:
    """Compare the indices that a file states for added tokens with those of the vocabulary.

    The library itself ignores the stated ones: it keeps the index of a known symbol, and numbers new ones in order.

    Args:
        stated: (token, its index).
        vocabulary: {symbol: index}; tokens that it lacks are not compared.
        source: the file, named in errors.

    Raises:
        UserError: an index differs; the token is named.
    """
    for token, index in stated:
        if (row := vocabulary.get(token, index)) != index:
            raise UserError(f"{source}: the added token {token!r} has index {index} here, but {row} in the vocabulary")


def growth_of(part: Any) -> float:
    """Return how many times as long a text becomes at most by the ``Replace`` steps of a part of ``tokenizer.json``.

    The growth of two steps is multiplied only if the second may replace what the first has written.
    """
    written: list[tuple[str | None, float]] = []  # (content, its growth) of each step; None: any characters
    for step in steps_of(part):
        content, pattern = step.get("content"), step.get("pattern")
        if step["type"] != "Replace" or not isinstance(content, str):  # it may turn characters into any other
            written = [(None, max((growth for _, growth in written), default=1.0))]
            continue
        string, regex = (pattern.get(kind) if isinstance(pattern, Mapping) else None for kind in ("String", "Regex"))
        if isinstance(string, str) and string:
            own = max(1.0, len(content) / len(string))
            before = [growth for text, growth in written if text is None or set(text) & set(string)]
        else:
            own = max(1, len(content) + may_be_empty(regex))
            before = [growth for _, growth in written]
        written.append((content, own * max(before, default=1.0)))
    return max((growth for _, growth in written), default=1.0)


def steps_of(part: Any) -> Iterator[Mapping]:
    """Yield the steps of a part of ``tokenizer.json`` in their order, without the sequences that contain them."""
    if isinstance(part, list):
        for each in part:
            yield from steps_of(each)
    elif isinstance(part, Mapping) and part.get("type") == "Sequence":
        yield from steps_of([value for value in part.values() if isinstance(value, list)])
    elif isinstance(part, Mapping) and isinstance(part.get("type"), str):
        yield part


def may_be_empty(regex: Any) -> bool:
    """Return whether a pattern of the library (Oniguruma) may match between two characters.

    Python's parser decides; a pattern that only Oniguruma has, or that it reads in another way, counts as one.
    """
    if not isinstance(regex, str):
        return True
    known = re.sub(r"\\[pP]\{\^?\w+\}|\[:\^?\w+:\]", r"\\w", regex)
    plain = re.sub(r"\\.", "a", known, flags=re.DOTALL)
    if re.search(r"\[\^?\]?[^\]]*\[|\}\?", plain):  # nested sets; a{2}? is an optional a{2}
        return True
    try:
        with warnings.catch_warnings(action="ignore"):
            return re._parser.parse(known).getwidth()[0] == 0  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError):
        return True


def content_of(token: str | Mapping | None) -> str | None:
    """Return the text of a token in a tokenizer's files, which is written as a string or as an object."""
    return token.get("content") if isinstance(token, Mapping) else token
