"""Convert the tokenizer of a Hugging Face folder to our dictionary: the same ids, or an error that names the file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.data.text.causal_tokenizers import (
    BPE_FILES,
    CHARACTERS_FILE,
    ENDS,
    FAIRSEQ_BPE_FILES,
    TOKENIZERS_FILE,
    is_gpt2,
)
from plugins.data.text.token_dictionary import ADDED_FILE, TokenDictionary
from plugins.data.text.tokenizers import SENTENCEPIECE_FILE
from plugins.data.text.tokenizers_library import CONFIG_FILE, LibraryTokenizer, content_of, read_content
from plugins.errors import UserError, check, shortened
from plugins.files import check_readable, read_json

from . import added_tokens
from .files import CONFIG, GENERATION_CONFIG, shown

MAP_FILE = "special_tokens_map.json"
NEUTRAL = (  # classes with GPT-2's encoding
    None,
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
)
LARGEST_INDEX = 10_000_000  # ten times that of the largest published vocabularies
TRANSFORMERS = "pip install transformers (or pip install -e '.[hf]')"


def read_dictionary(folder: Path, tokenizer: str | Path | None, rows: int) -> TokenDictionary:
    """Return the dictionary of a folder, with a filler for each row of the table that has no symbol.

    The ends of a document are those of ``config.json``, else of the tokenizer. A text encodes to transformers' ids,
    except that an end written in a text remains text.

    Args:
        folder: the folder of the model.
        tokenizer: where the tokenizer's files are, if not there.
        rows: rows of the embedding table.

    Raises:
        UserError: a file is missing or damaged, or the tokenizer does not fit the table.
    """
    source = Path(tokenizer or folder)
    try:
        stated = added_tokens.read(source)
        if is_plain(source):
            dictionary = TokenDictionary.from_files(source)
            wanted = ends_of(folder, dictionary.symbols)
            if wanted not in (None, (dictionary[dictionary.bos()], dictionary[dictionary.eos()])):
                dictionary = library_dictionary(source, folder)
        else:
            dictionary = library_dictionary(source, folder)
        added_tokens.check_stated(stated, dictionary.indices)
    except UserError as error:
        raise UserError(f"{error}; name another with --tokenizer" if tokenizer is None else str(error)) from None
    if len(dictionary) > rows:
        beyond = f"{dictionary[rows]!r} and those after it have no row"
        raise UserError(f"{source}: the tokenizer has {len(dictionary)} symbols, but the model only {rows}: {beyond}")
    dictionary.fill(rows)
    return dictionary


def is_plain(source: Path) -> bool:
    """Return whether our reader encodes like transformers: GPT-2's files without options, or our own files."""
    if not source.is_dir() or (source / CHARACTERS_FILE).exists():
        return True
    config, named = optional_json(source / CONFIG_FILE), set()
    neutral = (config.get("tokenizer_class") or optional_json(source / CONFIG).get("tokenizer_class")) in NEUTRAL
    if (source / SENTENCEPIECE_FILE).exists():  # our own, unless a class of transformers numbers the pieces
        return not config or (neutral and config.get("split_special_tokens") is True)
    pairs = [names for names in (BPE_FILES, FAIRSEQ_BPE_FILES) if all((source / name).exists() for name in names)]
    if not pairs and not (source / TOKENIZERS_FILE).exists():
        return neutral  # and its error; other classes have files of other names
    if (source / TOKENIZERS_FILE).exists():
        content = read_content(source / TOKENIZERS_FILE)
        if not is_gpt2(content):
            return False
        named |= {content_of(token) for token in content.get("added_tokens") or ()}
    named |= set(optional_json(source / ADDED_FILE))
    tokens = []
    for value in optional_json(source / MAP_FILE).values():
        tokens += value if isinstance(value, list) else [value]
    tokens += [value for name, value in config.items() if name.endswith("_token")]
    for name in ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"):
        given = config.get(name) or []
        check(isinstance(given, list | dict), f"{source / CONFIG_FILE}: {name}: a list or an object is expected")
        tokens += given.values() if name == "added_tokens_decoder" and isinstance(given, dict) else given
    named |= {shown(content_of(token)) for token in tokens if isinstance(token, str | Mapping)}
    return named <= {*ENDS} and not config.get("add_prefix_space") and neutral


def optional_json(path: Path) -> dict:
    """Return the content of a JSON file; {} if there is none."""
    return read_json(path, dict) if path.exists() else {}


def library_dictionary(source: Path, folder: Path) -> TokenDictionary:
    """Return the dictionary of a tokenizer as transformers itself builds it from the folder ``source``.

    Raises:
        UserError: transformers is missing, or cannot read the tokenizer.
    """
    theirs = load(source)
    content = json.loads(theirs.backend_tokenizer.to_str())
    symbols = theirs.convert_ids_to_tokens(list(range(len(theirs))))
    ends = ends_of(folder, symbols)
    if ends is None:
        named = theirs.bos_token or theirs.eos_token, theirs.eos_token or theirs.bos_token
        ends = named if named[0] is not None else None
    return TokenDictionary(LibraryTokenizer(content, ends, theirs.split_special_tokens, source))


def load(source: Path) -> Any:
    """Return the tokenizer of a folder as transformers reads it, with a backend of the tokenizers library.

    Raises:
        UserError: transformers is missing or cannot read the tokenizer, a file of its class is missing, or one is a
            pipe or a device.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UserError(f"{source}: its tokenizer is read by transformers: {TRANSFORMERS}") from None
    for file in source.glob("*"):  # any of them may be read, and a pipe would block
        if file.exists() and not file.is_dir():
            check_readable(file)
    check_vocabulary(source)
    try:
        theirs = AutoTokenizer.from_pretrained(str(source), local_files_only=True, trust_remote_code=False)
        theirs.backend_tokenizer.to_str()
        theirs("")
    except Exception as error:  # nearly anything
        raise UserError(f"{source}: transformers cannot read its tokenizer ({shortened(str(error))})") from None
    names = [name for name in theirs.vocab_files_names.values() if name != TOKENIZERS_FILE]
    missing = [name for name in names if not (source / name).exists()]
    if not (source / TOKENIZERS_FILE).exists() and (missing or not names):  # transformers then makes an empty one
        raise UserError(f"{source}: no {' and no '.join([*missing, TOKENIZERS_FILE])}, and so no tokenizer")
    return theirs


def check_vocabulary(source: Path) -> None:
    """Check the indices of the symbols in a folder before the tokenizers library reads them.

    It keeps one of two symbols with the same index, and lists all indices without a symbol.

    Raises:
        UserError: an index is not an integer from 0 to :data:`LARGEST_INDEX`, or two symbols have the same.
    """
    model = optional_json(source / TOKENIZERS_FILE).get("model")
    vocabularies = {TOKENIZERS_FILE: model.get("vocab") if isinstance(model, dict) else None}
    vocabularies |= {name: optional_json(source / name) for name in (BPE_FILES[0], FAIRSEQ_BPE_FILES[0])}
    for name, vocabulary in vocabularies.items():
        owners: dict[int, str] = {}
        for symbol, index in vocabulary.items() if isinstance(vocabulary, dict) else ():
            if type(index) is not int or not 0 <= index <= LARGEST_INDEX:
                raise UserError(f"{source / name}: {symbol!r} has the index {shown(index)}; an integer from 0 to "
                                f"{LARGEST_INDEX} is expected")  # fmt: skip
            if owners.setdefault(index, symbol) != symbol:
                raise UserError(f"{source / name}: {owners[index]!r} and {symbol!r} have the same index {index}")


def ends_of(folder: Path, symbols: list[str]) -> tuple[str, str] | None:
    """Return the symbols that ``config.json`` names as the beginning and the end of a document; None without any.

    ``generation_config.json`` is read where the config names none, as transformers 5 writes it. An index without a
    symbol counts as none: transformers writes GPT-2's own into configs of smaller vocabularies.

    Raises:
        UserError: an index is not an integer.
    """
    for name in (CONFIG, GENERATION_CONFIG):
        path = folder / name
        config = optional_json(path)
        found = []
        for key in ("bos_token_id", "eos_token_id"):
            index = config.get(key)
            index = index[0] if isinstance(index, list) and len(index) == 1 else index
            if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
                raise UserError(f"{path}: {key} {shown(index)} is not the index of one symbol")
            if index is not None and 0 <= index < len(symbols) and symbols[index]:
                found.append(symbols[index])
        if found:
            return found[0], found[-1]
    return None
