"""Compare the tokenizer that fairseq will use with the tokenizer of transformers that it stands for."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugins.data.dictionaries import MASK, MaskDictionary
from plugins.data.text import bpe
from plugins.data.text.tokenizers import DICTIONARY_FILE
from plugins.errors import UserError

from ..roberta import masked_symbols

logger = logging.getLogger(__name__)

TEXTS = ("hello world", "Hello World", "It's 12.5 (naïve) été!")  # plain: stacked marks and the like may differ
AROUND = ("{}", "a {} b", "a{}b", "a {}b", "a{} b")
REMEDY = "import the folder with --tokenizer of the model before tokens were added, if it was not trained with them"


def check(files: dict[str, bytes], rows: Sequence[int], theirs: Any, added: Sequence[str], source: Path) -> None:
    """Encode a few texts with both tokenizers; texts with masks that differ are a warning.

    Args:
        files: {name: content} of fairseq's tokenizer and its dictionary.
        rows: for each word of the dictionary, ``<mask>`` last, its index for transformers.
        theirs: the tokenizer of transformers; texts with its mask are encoded too.
        added: tokens that were added to its vocabulary; texts with each of them are encoded too.
        source: its folder, named in errors.

    Raises:
        UserError: the indices of a text differ; the text, or the added token in it, is named.
    """
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            Path(place, name).write_bytes(content)
        dictionary = MaskDictionary.load(str(Path(place, DICTIONARY_FILE)))
        dictionary.add_mask()
        options = bpe.find(place)
        if options is None:
            raise UserError(f"{source}: no tokenizer for fairseq")
        ours = bpe.build(options)

    def same(text: str) -> bool:
        try:
            encoded = masked_symbols(ours, text) if MASK in text else ours.encode(text)
        except KeyError:  # the vocabulary lacks a letter, so fairseq's BPE encodes no text with it
            return True
        line = dictionary.encode_line(encoded, append_eos=False, add_if_not_exist=False)
        text = text.replace(MASK, theirs.mask_token)
        return [rows[i] for i in line.tolist()] == theirs(text, add_special_tokens=False).input_ids

    for token in added:
        if not all(same(around.format(token)) for around in AROUND):
            raise UserError(f"{source}: the added token {token!r} is not found in a text by fairseq's "
                            f"{options['_name']} tokenizer; {REMEDY}")  # fmt: skip
    text = next((text for text in TEXTS if not same(text)), None)
    if text is not None:
        raise UserError(f"{source}: transformers encodes {text!r} in another way than fairseq's {options['_name']} "
                        "tokenizer; a step of its tokenizer has no counterpart")  # fmt: skip
    if not all(same(around.format(MASK)) for around in AROUND):
        message = "%s: %s includes the white space before it here and in exported folders, but not in this folder"
        logger.warning(message, source, theirs.mask_token)
