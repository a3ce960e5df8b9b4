"""The tokenizer that lies in a folder, in the terms of fairseq's ``--bpe``."""

import filecmp
import os
import shutil

import numpy as np
from fairseq.data import encoders
from omegaconf import OmegaConf

from plugins.data.dictionaries import FILLER
from plugins.data.text.tokenizers import SENTENCEPIECE_FILE, TOKENIZER_FILES
from plugins.errors import UserError
from plugins.files import replacing


def find(folder, preferred="sentencepiece"):
    """Return fairseq's options of the tokenizer in a folder, the preferred one if there are two; None if none."""
    kinds = {
        "sentencepiece": {"sentencepiece_model": SENTENCEPIECE_FILE},
        "gpt2": {"gpt2_encoder_json": "encoder.json", "gpt2_vocab_bpe": "vocab.bpe"},
    }
    for kind in sorted(kinds, key=lambda kind: kind != preferred):
        paths = {option: os.path.join(folder, name) for option, name in kinds[kind].items()}
        if all(map(os.path.exists, paths.values())):
            return OmegaConf.create({"_name": kind} | paths)
    return None


def copy(source, target):
    """Put the dictionary and the tokenizer of a folder into another, whole or not at all."""
    for name in TOKENIZER_FILES:
        old, new = os.path.join(source, name), os.path.join(target, name)
        if os.path.exists(old) and not (os.path.exists(new) and filecmp.cmp(old, new, shallow=False)):
            with replacing(new) as part:
                shutil.copyfile(old, part)


def word_starts(folder, dictionary):
    """Return (V,) booleans, True for the words of the dictionary that start a word of the text.

    Raises:
        UserError: no tokenizer in the folder.
    """
    options = find(folder)
    if options is None:
        raise UserError(f"{folder}: no tokenizer, which --mask-whole-words needs to know where words start")
    bpe = encoders.build_bpe(options)
    special = dictionary.nspecial
    return np.array([i < special or starts_word(bpe, w) for i, w in enumerate(dictionary.symbols)])


def starts_word(bpe, symbol):
    try:
        return symbol.startswith(FILLER) or bpe.is_beginning_of_word(symbol)
    except ValueError:  # GPT-2's decoder on a symbol that is no number
        return True
