"""The tokeniser that lies in a folder, in the terms of fairseq's ``--bpe``."""

import os

import numpy as np
from fairseq.data import encoders
from omegaconf import OmegaConf

from plugins.errors import UserError

from .dictionaries import FILLER
from .tokenizers import SENTENCEPIECE_FILE


def find(folder):
    """Return fairseq's options of the tokeniser in a folder; None if there is none."""
    model, encoder, merges = (os.path.join(folder, n) for n in (SENTENCEPIECE_FILE, "encoder.json", "vocab.bpe"))
    if os.path.exists(model):
        return OmegaConf.create({"_name": "sentencepiece", "sentencepiece_model": model})
    if os.path.exists(encoder) and os.path.exists(merges):
        return OmegaConf.create({"_name": "gpt2", "gpt2_encoder_json": encoder, "gpt2_vocab_bpe": merges})
    return None


def word_starts(folder, dictionary):
    """Return (V,) booleans, True for the words of the dictionary that start a word of the text.

    Raises:
        UserError: no tokeniser in the folder.
    """
    options = find(folder)
    if options is None:
        raise UserError(f"{folder}: no tokeniser, which --mask-whole-words needs to know where words start")
    bpe = encoders.build_bpe(options)
    special = dictionary.nspecial
    return np.array([i < special or starts_word(bpe, w) for i, w in enumerate(dictionary.symbols)])


def starts_word(bpe, symbol):
    try:
        return symbol.startswith(FILLER) or bpe.is_beginning_of_word(symbol)
    except ValueError:  # GPT-2's decoder on a symbol that is no number
        return True
