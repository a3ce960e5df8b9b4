"""Tokenized sentences and pairs: cached by content, truncated, and batched by length."""

import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary
from tqdm import tqdm

from plugins import numpy_files
from plugins.data.by_length import ByLength
from plugins.data.dictionaries import MaskDictionary
from plugins.data.glue import reader
from plugins.data.glue.specs import GlueSpec
from plugins.data.text import bpe, columnar
from plugins.data.text.tables import suffix
from plugins.data.text.tokenizers import DICTIONARY_FILE, TOKENIZER_FILES
from plugins.errors import UserError
from plugins.files import replacing

logger = logging.getLogger(__name__)

FORMAT = b"2"  # version of the cache format; changing it invalidates old files


# Text to tokens


@dataclass(frozen=True)
class Tokenized:
    """A split as token ids, without special symbols and before truncation: N rows of K texts.

    Attributes:
        tokens: (S,) int32, all texts concatenated.
        offsets: (N * K + 1,) int64, index of the first token of each text.
        labels: (N,) or None.
        index: N names of the rows.
        skipped: number of rows that were left out.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray | None
    index: np.ndarray
    skipped: int

    def __len__(self) -> int:
        return len(self.index)


class FolderTokenizer:
    """The tokenizer and the dictionary in a folder, usually the folder of a checkpoint.

    Raises:
        UserError: the folder lacks ``dict.txt`` or the tokenizer.
    """

    def __init__(self, folder: str | Path):
        self.folder = folder
        self.dictionary = MaskDictionary.load(os.path.join(folder, DICTIONARY_FILE))
        options = bpe.find(folder)
        if options is None:
            raise UserError(
                f"{folder}: no tokenizer (sentencepiece.bpe.model, or encoder.json and vocab.bpe) next to dict.txt; "
                "copy it there, or name its folder: --tokenizer-dir"
            )
        self.options = options
        self._bpe: Any = None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, as in fairseq's hub interface."""
        if self._bpe is None:
            self._bpe = bpe.build(self.options)
        index = self.dictionary.index
        return [index(piece) for piece in self._bpe.encode(text).split()]

    def fingerprint(self) -> str:
        """Return a SHA-256 of everything that determines the ids."""
        digest = hashlib.sha256(str(self.options["_name"]).encode())
        for name in TOKENIZER_FILES:
            path = Path(self.folder, name)
            digest.update(path.read_bytes() if path.exists() else b"-")
        return digest.hexdigest()


def tokenize(examples: reader.Examples, tokenizer: FolderTokenizer) -> Tokenized:
    """Tokenize the examples of a split."""
    rows = zip(*examples.texts, strict=True)
    encoded = [tokenizer.encode(text) for row in tqdm(rows, "tokenizing", len(examples.index), False, disable=None)
               for text in row]  # fmt: skip
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    offsets = np.concatenate([[0], sizes.cumsum()])
    tokens = np.fromiter((token for ids in encoded for token in ids), np.int32, offsets[-1])
    return Tokenized(tokens, offsets, examples.labels, np.array(examples.index, str), examples.skipped)


def load(
    path: str | Path,
    spec: GlueSpec,
    split: str,
    tokenizer: FolderTokenizer,
    cache: str | Path | None = None,
    skip_bad_rows: bool = False,
) -> Tokenized:
    """Read and tokenize a split, or load it from the cache; log a warning, once, if all its labels are the same.

    Args:
        path: the file.
        cache: folder of the cache; None disables it.

    Raises:
        UserError: as :func:`reader.read`.
    """
    place = cache and Path(cache, f"{spec.name}-{split}-{key(path, spec, split, tokenizer, skip_bad_rows)[:32]}.npz")
    found = place and read_cache(place)
    if found:
        data = found
        logger.info("%s: %d rows from %s", path, len(data), place)
    else:
        data = tokenize(reader.read(path, spec, split, skip_bad_rows), tokenizer)
        logger.info("%s: %d rows", path, len(data))
        if place:
            write_cache(place, data)
    if data.labels is not None and len(data) > 1 and (data.labels == data.labels[0]).all():
        label = data.labels[0] if spec.is_regression else spec.labels[int(data.labels[0])]
        _warn_of_one_label(str(path), len(data), str(label))
    return data


@functools.cache  # a split is loaded for each run
def _warn_of_one_label(path: str, count: int, label: str) -> None:
    logger.warning("%s: all %d rows have the same label, %s; is it the right column?", path, count, label)


def key(path: str | Path, spec: GlueSpec, split: str, tokenizer: FolderTokenizer, skip_bad_rows: bool) -> str:
    """Return a SHA-256 of everything that determines the result of :func:`load`."""
    digest = hashlib.sha256(FORMAT)
    for part in (str(sorted(spec.plain().items())), split, suffix(path), tokenizer.fingerprint(), skip_bad_rows):
        digest.update(str(part).encode() + b"\0")
    for file in columnar.parts(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_cache(path: Path) -> Tokenized | None:
    """Return the split in a cache file, or None if the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        arrays = numpy_files.read_npz(path)
        offsets, index, skipped = arrays["offsets"], arrays["index"], int(arrays["skipped"])
        return Tokenized(arrays["tokens"], offsets, arrays.get("labels"), index, skipped)
    except (UserError, KeyError, TypeError, ValueError) as error:
        logger.warning("damaged cache file, rebuilt: %s", error)
        return None


def write_cache(path: Path, data: Tokenized) -> None:
    """Write a cache file atomically; if the folder cannot be written, log a warning."""
    arrays: dict[str, Any] = {"tokens": data.tokens, "offsets": data.offsets, "index": data.index}
    arrays["skipped"] = np.int64(data.skipped)
    if data.labels is not None:
        arrays["labels"] = data.labels
    try:
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(file, **arrays)
    except UserError as error:
        logger.warning("%s; not cached", error)


def default_cache() -> str:
    """Return the default folder of the cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "fairseq-workbench", "glue")


# Tokens to model inputs


def truncated(first: np.ndarray, second: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many tokens to keep of each text of each pair; the longer text is truncated (BERT, RoBERTa).

    Args:
        first, second: (N,) lengths.
        budget: largest number of tokens of both; where both are truncated, the first keeps the odd token.
    """
    half = budget - budget // 2
    over = first + second > budget
    kept_first = np.where(second <= budget // 2, budget - second, half)
    kept_first = np.where(over & (first > half), kept_first, first)
    kept_second = np.where(over, np.minimum(second, budget - kept_first), second)
    return kept_first, kept_second


def part(data: Tokenized, rows: np.ndarray) -> Tokenized:
    """Return some rows of :class:`Tokenized`, by their numbers."""
    texts = (len(data.offsets) - 1) // max(1, len(data))
    sizes = np.diff(data.offsets).reshape(-1, texts)[rows]  # (M, K)
    begins = data.offsets[:-1].reshape(-1, texts)[rows]
    offsets = np.concatenate([[0], sizes.ravel().cumsum()])
    places = np.arange(offsets[-1]) + np.repeat(begins.ravel() - offsets[:-1], sizes.ravel())
    labels = None if data.labels is None else data.labels[rows]
    return Tokenized(data.tokens[places], offsets, labels, data.index[rows], data.skipped)


class SentencePairs(ByLength):
    """Model inputs ``<s> A </s>`` or ``<s> A </s> </s> B </s>``, with labels where there are any.

    Args:
        data: a split with one or two texts in each row.
        dictionary: fairseq's dictionary.
        max_positions: largest length of an input; texts are truncated to fit.
        pad_multiple: batches are padded to a multiple of this length.
        shuffle: vary the batches from epoch to epoch (training).
        rows: numbers of the rows of ``data`` to use; None: all.
        split: name that batches carry.

    Raises:
        UserError: ``max_positions`` leaves no room for a token of each text.
    """

    def __init__(
        self,
        data: Tokenized,
        dictionary: Dictionary,
        max_positions: int,
        pad_multiple: int = 1,
        shuffle: bool = False,
        rows: np.ndarray | None = None,
        split: str = "",
    ):
        self.split, self.total = split, len(data)
        self.rows = np.arange(len(data)) if rows is None else rows
        data = data if rows is None else part(data, rows)
        self.dictionary, self.labels, self.index, self.skipped = dictionary, data.labels, data.index, data.skipped
        texts = (len(data.offsets) - 1) // max(1, len(data))
        self.parts = parts(data, texts, max_positions)
        self.tokens = data.tokens
        sizes = sum(stop - start for start, stop in self.parts) + 2 * texts
        super().__init__(sizes, max_positions, pad_multiple, shuffle)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Return the tokens (T,) of an input, its label and its index."""
        bos, eos = [self.dictionary.bos()], [self.dictionary.eos()]
        pieces: list[Any] = [bos]
        for start, stop in self.parts:
            pieces += [self.tokens[start[i] : stop[i]], eos, eos]
        tokens = np.concatenate(pieces[:-1]).astype(np.int64)
        return {"id": i, "tokens": tokens, "label": None if self.labels is None else self.labels[i]}

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch for the criterion: tokens (B, T), padded on the right."""
        if not samples:
            return {}
        sizes = np.array([len(sample["tokens"]) for sample in samples])
        tokens = np.full((len(samples), self.padded(sizes.max())), self.dictionary.pad(), np.int64)
        for row, sample in zip(tokens, samples, strict=True):
            row[: len(sample["tokens"])] = sample["tokens"]
        batch = {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "net_input": {
                "src_tokens": torch.from_numpy(tokens),
                "src_lengths": torch.from_numpy(sizes),
                "has_padding": bool(sizes.min() < tokens.shape[1]),
            },
            "nsentences": len(samples),
            "ntokens": int(sizes.sum()),
            "split": self.split,
            "rows": self.rows[[sample["id"] for sample in samples]],  # numbers in the file
            "of": self.total,
        }
        if self.labels is not None:
            batch["target"] = torch.from_numpy(np.array([sample["label"] for sample in samples]))
        return batch


def parts(data: Tokenized, texts: int, max_positions: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (start, stop) of the kept tokens for each of the K texts, arrays of (N,) each.

    Raises:
        UserError: ``max_positions`` leaves no room for a token of each text.
    """
    special = 2 * texts  # <s> and </s>, and </s> </s> between two texts
    if max_positions < special + texts:
        raise UserError(f"--max-positions {max_positions}: an input takes at least {special + texts}; raise it")
    starts = data.offsets[:-1].reshape(-1, texts)  # (N, K)
    sizes = np.diff(data.offsets).reshape(-1, texts)
    if texts == 1:
        kept = (np.minimum(sizes[:, 0], max_positions - special),)
    else:
        kept = truncated(sizes[:, 0], sizes[:, 1], max_positions - special)
    return [(starts[:, k], starts[:, k] + size) for k, size in enumerate(kept)]
