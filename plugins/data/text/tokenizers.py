"""Lines of text to the symbols of a fairseq dictionary, by sentencepiece or by GPT-2's byte-pair encoding.

Both tokenizers give exactly the symbols that fairseq's hub interface gives for the same line, both name the
files that a data folder (and later a checkpoint) needs beside it, and neither ever downloads anything.
"""

import io
import itertools
import random
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import sentencepiece
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder
from fairseq.tokenizer import tokenize_line

from plugins.errors import UserError

SENTENCEPIECE_FILE = "sentencepiece.bpe.model"  # the name that fairseq's hub_utils looks for
DICTIONARY_FILE = "dict.txt"
GPT2_FILES = ("encoder.json", "vocab.bpe", DICTIONARY_FILE)
TOKENIZER_FILES = (SENTENCEPIECE_FILE, *GPT2_FILES)  # everything that turns text into a model's input

# Beyond this much text the pieces hardly change, while training takes some 20 bytes of memory a character.
_TRAINING_BYTES = 20_000_000
_TRAINING_THREADS = 4  # fixed, because the sums of expectations depend on it
# Sentencepiece leaves out the rarest characters, which in little text would be some of these.
_REQUIRED_CHARACTERS = string.ascii_letters + string.digits + string.punctuation
_FAIRSEQ_SYMBOLS = 4  # <s>, <pad>, </s>, <unk>
_SENTENCEPIECE_SYMBOLS = 1  # <unk>


class Tokenizer(Protocol):
    """What :mod:`plugins.data.mlm.folder` asks of a tokenizer. Instances can be pickled."""

    name: str
    has_dictionary: bool
    """Whether :meth:`dictionary` is final. Otherwise its order is arbitrary and its counts are 0."""

    def encode(self, line: str) -> list[str]:
        """Return the symbols of one line; those outside the dictionary stand for unknown text."""

    def dictionary(self) -> Dictionary:
        """Return a new fairseq dictionary of every symbol that :meth:`encode` can give for known text."""

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that a data folder needs, by name (in :data:`TOKENIZER_FILES`)."""


class SentencePieceTokenizer:
    """A sentencepiece model; symbols are its pieces, in which ``▁`` marks the start of a word."""

    name = "sentencepiece"
    has_dictionary = False

    def __init__(self, model: bytes):
        """Read a serialised model.

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
            UserError: the file cannot be read or is no sentencepiece model.
        """
        try:
            return cls(_read(Path(path)))
        except RuntimeError:
            raise UserError(f"{path} is not a sentencepiece model") from None

    @classmethod
    def train(
        cls, lines: Sequence[str], vocab_size: int = 8000, *, exact: bool = True, seed: int = 1
    ) -> "SentencePieceTokenizer":
        """Train a unigram model; the same lines, size and seed always give the same model.

        Args:
            lines: text, one sentence or paragraph each. Of more than 20 MB a random sample is used.
            vocab_size: size of the fairseq dictionary that results, its four special symbols included.
            exact: refuse text that gives fewer symbols than that, rather than make do with those.
            seed: chooses the sample.

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
    def train_lossless(cls, lines: Sequence[str], size: int, *, seed: int = 1) -> "SentencePieceTokenizer":
        """Train a unigram model that gives every text back as it was: a line break is a piece, a rare character bytes.

        Args:
            lines: text, without line breaks. Of more than 20 MB a random sample is used.
            size: most pieces; little text gives less.
            seed: chooses the sample.

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
            return cls(_train([line for line in lines if line.strip()], size, seed, options))
        except RuntimeError as error:
            raise UserError(f"sentencepiece failed with {size} pieces: {' '.join(str(error).split())}") from None

    def __reduce__(self):
        return SentencePieceTokenizer, (self._model,)

    def encode(self, line: str) -> list[str]:
        """Return the pieces of ``line``, with unknown characters as they stand."""
        # The hub joins pieces by blanks and splits them again, which matters where a piece holds white space.
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
        """Read ``encoder.json``, ``vocab.bpe`` and fairseq's ``dict.txt`` for them from a folder.

        Raises:
            UserError: one of the files is missing or malformed.
        """
        self._folder = Path(folder)
        self._files = {name: _read(self._folder / name, _GPT2_HINT) for name in GPT2_FILES}
        try:
            self._encoder = get_encoder(*(str(self._folder / name) for name in GPT2_FILES[:2]))
        except (ValueError, AttributeError) as error:
            raise UserError(f"{folder}: encoder.json or vocab.bpe is not GPT-2's ({error})") from None
        self.dictionary()  # now, so that a malformed dict.txt is reported before any work is done

    def __reduce__(self):
        return GPT2Tokenizer, (self._folder,)

    def encode(self, line: str) -> list[str]:
        """Return the ids of ``line`` as strings; a leading blank matters."""
        return [str(index) for index in self._encoder.encode(line)]

    def dictionary(self) -> Dictionary:
        """Return the dictionary in ``dict.txt``, whose order RoBERTa checkpoints rely on."""
        path = self._folder / DICTIONARY_FILE
        try:
            return Dictionary.load(io.StringIO(self._files[DICTIONARY_FILE].decode("utf-8")))
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path} is not a fairseq dictionary: {error}") from None

    def files(self) -> dict[str, bytes]:
        """Return the three files, byte for byte."""
        return dict(self._files)


_GPT2_HINT = "; scripts/get_data.py gpt2-bpe fetches encoder.json, vocab.bpe and dict.txt"


def _read(path: Path, hint: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}{hint}") from None


def _train(lines: Sequence[str], size: int, seed: int, options: dict) -> bytes:
    """Train a unigram model of ``size`` pieces and return it.

    Raises:
        RuntimeError: of sentencepiece.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_sample(lines, seed)),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        bos_id=-1,  # fairseq, or the dictionary, has its own
        eos_id=-1,
        max_sentence_length=2**30,  # bytes; longer lines are left out: by default, those above 4192
        num_threads=_TRAINING_THREADS,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def _sample(lines: Sequence[str], seed: int) -> list[str]:
    """Return the lines, in order: all, or a random part of about :data:`_TRAINING_BYTES`."""
    sizes = [len(line.encode()) for line in lines]
    if sum(sizes) <= _TRAINING_BYTES:
        return list(lines)
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
    if too_low := re.search(r"Vocabulary size is smaller than required_chars\. \d+ vs (\d+)", message):
        smallest = int(too_low[1]) + offset
        return f"--vocab-size {vocab_size} is too small for this text, which needs at least {smallest}"
    return f"sentencepiece failed with --vocab-size {vocab_size}: {' '.join(message.split())}"
