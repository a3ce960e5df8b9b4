"""The vocabulary of a RoBERTa-class folder as fairseq's ``dict.txt`` and tokenizer files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from plugins.data.dictionaries import FILLER, MASK
from plugins.data.text.causal_tokenizers import BPE_FILES
from plugins.data.text.tokenizers import DICTIONARY_FILE, GPT2_FILES, SENTENCEPIECE_FILE, WORD_PIECE_FILES
from plugins.data.text.tokenizers_library import CONFIG_FILE, TOKENIZERS_FILE
from plugins.errors import UserError
from plugins.files import read_bytes

from . import added_tokens, encoding_check
from .tokenizers_in import load, optional_json

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # fairseq's first words


@dataclass
class Vocabulary:
    """The words of a model.

    Attributes:
        rows: for each word of our dictionary, ``<mask>`` last, its row in the folder's tables.
        files: {name: content} of ``dict.txt`` and the tokenizer.
    """

    rows: list[int]
    files: dict[str, bytes]


def read(source: Path, config: Mapping[str, Any], count: int) -> Vocabulary:
    """Return the vocabulary of a folder.

    Args:
        source: the folder of the tokenizer.
        config: the parsed ``config.json``.
        count: rows of the table.

    Raises:
        UserError: the tokenizer is missing, or encodes in a way that fairseq's tokenizers do not.
    """
    bert = config.get("model_type") == "bert"
    if not bert and (names := exported(source)):
        stored = len(read_bytes(source / DICTIONARY_FILE).splitlines()) + len(SPECIAL) + 1
        if stored != count:
            raise UserError(f"{source / DICTIONARY_FILE}: {stored} symbols with the special ones, but the table has "
                            f"{count} rows; it must be the one that was exported with the model")  # fmt: skip
        return Vocabulary(list(range(count)), {name: read_bytes(source / name) for name in names})
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    stated = added_tokens.read(source)
    theirs = tokenizer_of(source)
    symbols, special = symbols_of(theirs, source, count)
    added_tokens.check_stated(stated, {symbol: index for index, symbol in symbols.items()})
    if bert:
        files = {word_piece_file(theirs, source): "".join(f"{symbols[i]}\n" for i in range(len(symbols))).encode()}
        words = {i: symbol for i, symbol in symbols.items() if i not in special.values()}
    elif (source / SENTENCEPIECE_FILE).exists():
        files = {SENTENCEPIECE_FILE: read_bytes(source / SENTENCEPIECE_FILE)}
        words = {i: symbol for i, symbol in symbols.items() if i not in special.values()}
    else:
        vocabulary, merges = bpe_of(theirs, source)
        check_special(special, symbols, merges, source)
        encoder = {symbol: i for symbol, i in vocabulary.items() if i not in special.values()}
        files = {"encoder.json": json.dumps(encoder).encode(), "vocab.bpe": ("\n".join(merges) + "\n").encode()}
        words = {i: str(i) for i in encoder.values() if i < count}
    taken = next((word for word in words.values() if word in (*SPECIAL, MASK)), None)
    if taken is not None:
        raise UserError(f"{source}: {taken!r} is an ordinary symbol of the tokenizer, but a special one of fairseq's")
    fillers = iter(f"{FILLER}{i:04d}" for i in range(count) if f"{FILLER}{i:04d}" not in words.values())
    rest = [i for i in range(count) if i not in special.values()]
    lines = [f"{words.get(i) or next(fillers)} 1" for i in rest]
    rows = [special[word] for word in SPECIAL] + rest + [special[MASK]]
    files[DICTIONARY_FILE] = ("\n".join(lines) + "\n").encode()
    encoding_check.check(files, rows, theirs, added_tokens.of_tokenizer(theirs, special.values()), source)
    return Vocabulary(rows, files)


def exported(source: Path) -> Sequence[str]:
    """Return the names of fairseq's files in a folder that scripts/export_hf.py wrote; none in another folder."""
    kinds = [(DICTIONARY_FILE, SENTENCEPIECE_FILE), GPT2_FILES, *((DICTIONARY_FILE, name) for name in WORD_PIECE_FILES)]
    return next((names for names in kinds if all((source / name).exists() for name in names)), ())


def tokenizer_of(source: Path) -> Any:
    """Return the tokenizer of a folder as transformers reads it.

    Raises:
        UserError: transformers is missing or cannot read it, or fairseq's tokenizers lack an option of it.
    """
    pieces = (source / SENTENCEPIECE_FILE).exists()  # which begin with a blank in any case
    if not pieces and optional_json(source / CONFIG_FILE).get("add_prefix_space"):
        raise UserError(f"{source / CONFIG_FILE}: add_prefix_space is not supported by fairseq's gpt2 tokenizer")
    return load(source)


def symbols_of(theirs: Any, source: Path, count: int) -> tuple[dict[int, str], dict[str, int]]:
    """Return {index: symbol}, and {fairseq's name of a special symbol: its index}, of transformers' tokenizer.

    Raises:
        UserError: a special symbol has no row, or a symbol is beyond the rows.
    """
    symbols = {index: symbol for symbol, index in theirs.get_vocab().items()}
    named = (theirs.bos_token or theirs.cls_token, theirs.pad_token, theirs.eos_token or theirs.sep_token,
             theirs.unk_token, theirs.mask_token)  # fmt: skip
    indices = {symbol: index for index, symbol in symbols.items()}
    special = {ours: indices.get(name, -1) for ours, name in zip((*SPECIAL, MASK), named, strict=True)}
    lacking = next((name for name, index in special.items() if not 0 <= index < count), None)
    if lacking is not None:
        raise UserError(f"{source}: no {lacking} within the {count} rows of the table")
    outside = next((symbol for index, symbol in symbols.items() if index >= count), None)
    if outside is not None:
        raise UserError(f"{source}: the symbol {outside!r} is beyond the {count} rows of the table")
    if len(set(special.values())) < len(special):
        raise UserError(f"{source}: two of {', '.join(special)} are the same symbol, but fairseq needs distinct ones")
    return symbols, special


def word_piece_file(theirs: Any, source: Path) -> str:
    """Return the name under which :mod:`plugins.data.text.bpe` finds a BERT's symbols.

    Raises:
        UserError: it is no WordPiece tokenizer with BERT's normalization, or an index has no symbol.
    """
    content = json.loads(theirs.backend_tokenizer.to_str())
    kind, normal = content["model"].get("type"), content["normalizer"] or {}
    lower = normal.get("lowercase")
    usual = {"clean_text": True, "handle_chinese_chars": True}
    same = normal.get("type") == "BertNormalizer" and {key: normal.get(key) for key in usual} == usual
    if kind != "WordPiece" or not same or normal.get("strip_accents") not in (None, lower):
        raise UserError(f"{source}: a BERT's tokenizer must be a WordPiece with its usual normalization")
    if sorted(theirs.get_vocab().values()) != list(range(len(theirs))):
        raise UserError(f"{source}: an index below {len(theirs)} has no symbol, but fairseq's tokenizer needs all")
    return WORD_PIECE_FILES[0 if lower else 1]


def check_special(special: Mapping[str, int], symbols: Mapping[int, str], merges: Sequence[str], source: Path) -> None:
    """Check that no special symbol of a byte-level BPE is one that a text becomes: such a text could not be encoded.

    Raises:
        UserError: one is.
    """
    of_texts = {*bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in merges[1:])}
    for name, index in special.items():
        if symbols[index] in of_texts:
            raise UserError(f"{source}: its {name} is {symbols[index]!r}, which ordinary text contains, too; name "
                            "another in tokenizer_config.json")  # fmt: skip


def bpe_of(theirs: Any, source: Path) -> tuple[dict[str, int], list[str]]:
    """Return the vocabulary and the merges of a byte-level BPE, as transformers has read them.

    Raises:
        UserError: it is none.
    """
    model = json.loads(theirs.backend_tokenizer.to_str())["model"]
    if model.get("type") != "BPE":
        raise UserError(f"{source}: no tokenizer for fairseq ({' and '.join(BPE_FILES)}, {TOKENIZERS_FILE} with a "
                        f"BPE, or {SENTENCEPIECE_FILE})")  # fmt: skip
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return model["vocab"], ["#version: 0.2", *merges]
