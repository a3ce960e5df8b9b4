"""The tokenizer in a folder, as options of fairseq's ``--bpe``."""

import filecmp
import os
import shutil
from typing import Any

import numpy as np
from fairseq.data import Dictionary, encoders
from omegaconf import DictConfig, OmegaConf

from plugins.data.dictionaries import FILLER
from plugins.data.text.tokenizers import SENTENCEPIECE_FILE, TOKENIZER_FILES, WORD_PIECE_FILES
from plugins.errors import UserError
from plugins.files import replacing


def find(folder: str | os.PathLike, preferred: str = "sentencepiece") -> DictConfig | None:
    """Return fairseq's options for the tokenizer in a folder, the preferred one if there are two; None if none."""
    kinds = {
        "sentencepiece": {"sentencepiece_model": SENTENCEPIECE_FILE},
        "gpt2": {"gpt2_encoder_json": "encoder.json", "gpt2_vocab_bpe": "vocab.bpe"},
    }
    for kind in sorted(kinds, key=lambda kind: kind != preferred):
        paths = {option: os.path.join(folder, name) for option, name in kinds[kind].items()}
        if all(map(os.path.exists, paths.values())):
            return OmegaConf.create({"_name": kind} | paths)
    for name in WORD_PIECE_FILES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            cased = name != WORD_PIECE_FILES[0]
            return OmegaConf.create({"_name": "bert", "bpe_vocab_file": path, "bpe_cased": cased})
    return None


def build(options: DictConfig) -> Any:
    """Return the tokenizer of :func:`find`.

    Raises:
        UserError: it needs a library that is not installed.
    """
    try:
        return encoders.build_bpe(options)
    except ImportError as error:
        raise UserError(f"{options.get('bpe_vocab_file', options['_name'])}: {error}") from None


def copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy the dictionary and the tokenizer of a folder to another, each file atomically."""
    for name in TOKENIZER_FILES:
        old, new = os.path.join(source, name), os.path.join(target, name)
        if os.path.exists(old) and not (os.path.exists(new) and filecmp.cmp(old, new, shallow=False)):
            with replacing(new) as part:
                shutil.copyfile(old, part)


def word_starts(folder: str | os.PathLike, dictionary: Dictionary) -> np.ndarray:
    """Return (V,) booleans, True for the symbols of the dictionary that start a word of the text.

    Raises:
        UserError: there is no tokenizer in the folder.
    """
    options = find(folder)
    if options is None:
        raise UserError(f"{folder}: no tokenizer, which --mask-whole-words needs to find the starts of words")
    bpe = build(options)
    special = dictionary.nspecial
    return np.array([i < special or starts_word(bpe, w) for i, w in enumerate(dictionary.symbols)])


def starts_word(bpe: Any, symbol: str) -> bool:
    """Return whether a symbol starts a word, according to one of fairseq's encoders."""
    try:
        return symbol.startswith(FILLER) or bpe.is_beginning_of_word(symbol)
    except ValueError:  # GPT-2's decoder, for a symbol that is not a number
        return True
