"""Tokenizers for lines of text, with symbols of a fairseq dictionary: sentencepiece, or GPT-2's byte-pair encoding.

Both give exactly the symbols that fairseq's hub interface gives for the same line, name the files that a data folder
(and later a checkpoint) needs, and never download anything.
"""

import io
import itertools
import random
import re
import string
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import sentencepiece
from fairseq.data import Dictionary
from fairseq.tokenizer import tokenize_line

from plugins.data.text import sentencepiece_training
from plugins.data.text.byte_pairs import BytePairEncoder
from plugins.errors import UserError
from plugins.files import read_bytes, read_text
from plugins.plain_data import parse_json

SENTENCEPIECE_FILE = "sentencepiece.bpe.model"  # the name that fairseq's hub_utils expects
DICTIONARY_FILE = "dict.txt"
GPT2_FILES = ("encoder.json", "vocab.bpe", DICTIONARY_FILE)
WORD_PIECE_FILES = ("wordpiece.txt", "wordpiece.cased.txt")  # BERT's, of lower-cased text or not
# Everything that turns text into a model's input.
TOKENIZER_FILES = (SENTENCEPIECE_FILE, *GPT2_FILES, *WORD_PIECE_FILES)

_TOO_LOW = r"Vocabulary size is smaller than required_chars\. \d+ vs (\d+)"  # what sentencepiece reports

# Beyond this much text the pieces hardly change, while training takes about 20 bytes of memory per character.
_TRAINING_BYTES = 20_000_000
_TRAINED_APART = 2_000_000  # characters from which on the memory matters more than a tenth of a second
_TRAINING_THREADS = 4  # fixed, because the sums of expectations depend on it
# Characters of a line in training. Sentencepiece's time grows with the square of a passage that a line repeats, and the
# likelihood of a word of 100,000 characters overflows.
_LONGEST_LINE = 4000
_LAST_BLANK = re.compile(r"\s\S*\Z")
# Sentencepiece drops the rarest characters, which in little text would include some of these.
_REQUIRED_CHARACTERS = string.ascii_letters + string.digits + string.punctuation
_FAIRSEQ_SYMBOLS = 4  # <s>, <pad>, </s>, <unk>
_SENTENCEPIECE_SYMBOLS = 1  # <unk>


class LineTokenizer(Protocol):
    """The tokenizer interface of :mod:`plugins.data.mlm.folder`. Instances can be pickled."""

    name: str
    has_dictionary: bool
    """Whether the order of :meth:`dictionary` is final. Otherwise it is arbitrary and all counts are 0."""

    def encode(self, line: str) -> list[str]:
        """Return the symbols of a line; symbols outside the dictionary are encoded as ``<unk>``."""

    def dictionary(self) -> Dictionary:
        """Return a new fairseq dictionary of every symbol that :meth:`encode` can give for known text."""

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that a data folder needs, by name (in :data:`TOKENIZER_FILES`)."""


class SentencePieceTokenizer:
    """A sentencepiece model; symbols are its pieces, in which ``▁`` marks the start of a word."""

    name = "sentencepiece"
    has_dictionary = False

    def __init__(self, model: bytes):
        """Read a serialized model.

        Raises:
            RuntimeError: ``model`` is not a sentencepiece model.
        """
        self._model = model
        self.processor = sentencepiece.SentencePieceProcessor()
        self.processor.LoadFromSerializedProto(model)

    @classmethod
    def from_file(cls, path: str | Path) -> "SentencePieceTokenizer":
        """Read a ``.model`` file.

        Raises:
            UserError: the file cannot be read or is not a sentencepiece model.
        """
        try:
            return cls(read_bytes(path))
        except RuntimeError:
            raise UserError(f"{path} is not a sentencepiece model") from None

    @classmethod
    def train(
        cls, lines: Sequence[str], vocab_size: int = 8000, *, exact: bool = True, seed: int = 1
    ) -> "SentencePieceTokenizer":
        """Train a unigram model; the same lines, size and seed always give the same model.

        Args:
            lines: text, one sentence or paragraph each. Of more than 20 MB a random sample is used.
            vocab_size: size of the resulting fairseq dictionary, including its four special symbols.
            exact: raise an error if the text gives fewer symbols, instead of using those.
            seed: seed of the sample.

        Raises:
            UserError: the text cannot fill ``vocab_size`` pieces, or has more distinct characters than that.
        """
        pieces = vocab_size - _FAIRSEQ_SYMBOLS + _SENTENCEPIECE_SYMBOLS
        options = {"required_chars": _REQUIRED_CHARACTERS, "byte_fallback": False, "hard_vocab_limit": exact}
        try:
            return cls(_train(lines, pieces, seed, options))
        except RuntimeError as error:
            raise UserError(_training_error(str(error), vocab_size)) from None

    @classmethod
    def train_lossless(cls, lines: Sequence[str], size: int) -> "SentencePieceTokenizer":
        """Train a unigram model that encodes without loss: a line break is a piece, a rare character is its bytes.

        Args:
            lines: text, without line breaks. Of more than 20 MB a random sample is used.
            size: largest number of pieces; little text gives fewer.

        Raises:
            UserError: there are too few pieces for the bytes and the characters of the text.
        """
        options = {
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "add_dummy_prefix": False,
            "allow_whitespace_only_pieces": True,
            "user_defined_symbols": ["\n"],
            "byte_fallback": True,
            "hard_vocab_limit": False,
        }
        try:
            return cls(_train([line for line in lines if line.strip()], size, 1, options))
        except RuntimeError as error:
            message = " ".join(str(error).split())
            if too_low := re.search(_TOO_LOW, message):
                raise UserError(f"--pieces {size}: too few for this text, which needs {too_low[1]}") from None
            raise UserError(f"sentencepiece failed with {size} pieces: {message}") from None

    def __reduce__(self):
        return SentencePieceTokenizer, (self._model,)

    def encode(self, line: str) -> list[str]:
        """Return the pieces of ``line``; unknown characters are kept."""
        # The hub joins pieces by blanks and splits them again, which matters where a piece contains white space.
        return tokenize_line(" ".join(self.processor.Encode(line, out_type=str)))

    def dictionary(self) -> Dictionary:
        """Return a dictionary of all pieces, with counts of 0, in the model's order."""
        dictionary = Dictionary()
        for index in range(self.processor.GetPieceSize()):
            if not (self.processor.IsControl(index) or self.processor.IsUnknown(index)):
                dictionary.add_symbol(self.processor.IdToPiece(index), n=0)
        return dictionary

    def files(self) -> dict[str, bytes]:
        """Return the model under the name that fairseq looks for."""
        return {SENTENCEPIECE_FILE: self._model}


class GPT2Tokenizer:
    """GPT-2's byte-level BPE as RoBERTa uses it; symbols are GPT-2's ids written as decimal strings."""

    name = "gpt2"
    has_dictionary = True

    def __init__(self, folder: str | Path):
        """Read ``encoder.json``, ``vocab.bpe`` and fairseq's ``dict.txt`` from a folder.

        Raises:
            UserError: one of the files is missing or malformed.
        """
        self._folder = Path(folder)
        self._files = {name: read_bytes(self._folder / name, _GPT2_HINT) for name in GPT2_FILES}
        try:
            encoder, merges = (read_text(self._folder / name) for name in GPT2_FILES[:2])
            pairs = [tuple(merge.split()) for merge in merges.split("\n")[1:-1]]
            self.encoder = BytePairEncoder(parse_json(encoder), pairs)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{folder}: encoder.json or vocab.bpe is not GPT-2's ({error})") from None
        self.dictionary()  # now, so that a malformed dict.txt is reported before any work is done

    def __reduce__(self):
        return GPT2Tokenizer, (self._folder,)

    def encode(self, line: str) -> list[str]:
        """Return the ids of ``line`` as strings; a leading blank matters."""
        return [str(index) for index in self.encoder.encode(line)]

    def dictionary(self) -> Dictionary:
        """Return the dictionary in ``dict.txt``, whose order RoBERTa checkpoints rely on.

        Raises:
            UserError: the file is not a dictionary of fairseq.
        """
        path = self._folder / DICTIONARY_FILE
        try:
            return Dictionary.load(io.StringIO(self._files[DICTIONARY_FILE].decode("utf-8")))
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path} is not a fairseq dictionary: {error}") from None

    def files(self) -> dict[str, bytes]:
        """Return the three files, byte for byte."""
        return dict(self._files)


_GPT2_HINT = "; scripts/get_data.py gpt2-bpe fetches encoder.json, vocab.bpe and dict.txt"


def _train(lines: Sequence[str], size: int, seed: int, options: dict) -> bytes:
    """Train a unigram model of ``size`` pieces and return it.

    Raises:
        RuntimeError: of sentencepiece.
    """
    chosen = _sample(lines, seed)
    apart = sum(map(len, chosen)) > _TRAINED_APART
    train = sentencepiece_training.train_apart if apart else sentencepiece_training.train
    options = {
        "model_type": "unigram",
        "vocab_size": size,
        "bos_id": -1,  # fairseq, or the dictionary, has its own
        "eos_id": -1,
        "max_sentence_length": 2**30,  # bytes; longer lines are left out: by default, those above 4192
        "num_threads": _TRAINING_THREADS,
        "minloglevel": 2,
    } | options
    return train(itertools.chain.from_iterable(map(_cut, chosen)), options)


def _cut(line: str) -> list[str]:
    """Cut a line into parts of at most :data:`_LONGEST_LINE` characters, before blanks, which pieces have only at their
    start, and within a word only where it is longer than that.
    """
    parts, start = [], 0
    while len(line) - start > _LONGEST_LINE:
        end = start + _LONGEST_LINE
        if blank := _LAST_BLANK.search(line, start + 1, end + 1):
            end = blank.start()
        parts.append(line[start:end])
        start = end
    return [*parts, line[start:]]


def _sample(lines: Sequence[str], seed: int) -> Sequence[str]:
    """Return the lines, in order: all, or a random part of about :data:`_TRAINING_BYTES`."""
    sizes = array("q", (len(line.encode()) for line in lines))
    if sum(sizes) <= _TRAINING_BYTES:
        return lines
    order = random.Random(seed).sample(range(len(lines)), len(lines))
    totals = itertools.accumulate(sizes[index] for index in order)
    chosen = [index for index, total in zip(order, totals, strict=True) if total <= _TRAINING_BYTES]
    return [lines[index] for index in sorted(chosen)]


def _training_error(message: str, vocab_size: int) -> str:
    """Return sentencepiece's error in one line that counts fairseq's symbols, as ``vocab_size`` does."""
    offset = _FAIRSEQ_SYMBOLS - _SENTENCEPIECE_SYMBOLS
    if too_high := re.search(r"value <= (\d+)", message):
        largest = int(too_high[1]) + offset
        return f"--vocab-size {vocab_size} is too large for this text, which gives at most {largest}"
    if too_low := re.search(_TOO_LOW, message):
        smallest = int(too_low[1]) + offset
        return f"--vocab-size {vocab_size} is too small for this text, which needs at least {smallest}"
    return f"sentencepiece failed with --vocab-size {vocab_size}: {' '.join(message.split())}"
