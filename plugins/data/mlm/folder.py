"""Write documents as a fairseq data folder: ``dict.txt``, ``{train,valid,test}.{bin,idx}``, the tokenizer's files.

A line becomes its symbols and ``</s>``. A single ``</s>`` separates two documents; fairseq reads it as a document
boundary (``--sample-break-mode complete_doc``). The corpus is kept in memory, as text and as ids.
"""

import multiprocessing
import multiprocessing.pool
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fairseq.data import Dictionary, indexed_dataset
from tqdm import tqdm

from plugins.atomic import temporary_folder
from plugins.data.text.tokenizers import DICTIONARY_FILE, TOKENIZER_FILES, LineTokenizer
from plugins.errors import UserError

SPLITS = ("train", "valid", "test")
FOLDER_FILES = {
    DICTIONARY_FILE,
    *TOKENIZER_FILES,
    *(f"{split}.{suffix}" for split in SPLITS for suffix in ("bin", "idx")),
}
_BATCH_LINES = 1000  # large enough that sending a batch to a worker is cheap, small enough for a smooth bar

Batch = tuple[np.ndarray, np.ndarray]  # ids of all lines, (tokens,); length of each line, (lines,)


@dataclass(frozen=True)
class SplitReport:
    """Size of one split."""

    split: str
    documents: int
    lines: int
    """Lines of text, without the empty lines between documents."""
    tokens: int
    """Tokens including every ``</s>``, as fairseq reports the size of the data."""
    types: int
    """Distinct symbols, special symbols excluded."""
    unknown: float
    """Percentage of the tokens that are ``<unk>``."""
    seconds: float


def split_documents(documents: Sequence[str], valid_fraction: float, seed: int = 1) -> tuple[list[str], list[str]]:
    """Set a random part of whole documents aside for validation; both parts keep their order.

    Args:
        documents: at least two.
        valid_fraction: fraction of the documents, between 0 and 1, rounded to a number from 1 to all but one.
        seed: chooses the documents.

    Raises:
        UserError: there are too few documents to split.
    """
    if len(documents) < 2:
        raise UserError("one document cannot be split: put empty lines between documents, or give --valid")
    count = min(max(1, round(valid_fraction * len(documents))), len(documents) - 1)
    chosen = set(random.Random(seed).sample(range(len(documents)), count))
    train = [document for index, document in enumerate(documents) if index not in chosen]
    return train, [documents[index] for index in sorted(chosen)]


def write_mlm_folder(
    output: str | Path,
    splits: Mapping[str, Sequence[str]],
    tokenizer: LineTokenizer,
    *,
    workers: int = 1,
    force: bool = False,
) -> list[SplitReport]:
    """Write a data folder atomically.

    Args:
        output: the folder, which must be new or empty unless ``force``; a link is followed.
        splits: documents by split, "train" first: its counts determine the order of the dictionary, unless the
            tokenizer comes with its own dictionary.
        workers: number of encoding processes; the result does not depend on it.
        force: replace an earlier data folder.

    Raises:
        UserError: a split is empty, or ``output`` may not or cannot be written.
    """
    for split, documents in splits.items():
        if not documents:
            raise UserError(f"the {split} split is empty")
    encoder = LineEncoder(tokenizer)
    reports = []
    with new_folder(output, force) as folder, _batch_map(encoder, workers) as encode:
        dictionary, order = None, np.zeros(0, int)
        for split, documents in splits.items():
            start = time.monotonic()
            batches = _encode(documents, encode, split)
            if dictionary is None:
                dictionary, order = _final_dictionary(tokenizer, batches)
            _write_split(folder / split, batches, order, len(dictionary))
            reports.append(_report(split, documents, batches, dictionary, time.monotonic() - start))
        _write_vocabulary(folder, dictionary, tokenizer)
    return reports


class LineEncoder:
    """Encode lines with the ids of the tokenizer's dictionary: a faster ``Dictionary.encode_line``."""

    def __init__(self, tokenizer: LineTokenizer):
        dictionary = tokenizer.dictionary()
        self._tokenizer = tokenizer
        self._indices = dictionary.indices
        self._unk, self._eos = dictionary.unk(), dictionary.eos()
        self._dtype = indexed_dataset.best_fitting_int_dtype(len(dictionary))

    def __call__(self, lines: Sequence[str]) -> Batch:
        """Return the ids of all lines, each followed by ``</s>``, and the lines' lengths.

        An empty line is a single ``</s>``. A line of text without any symbol (U+200B alone, for example) has length 0.
        """
        ids: list[int] = []
        ends = []
        for line in lines:
            symbols = self._tokenizer.encode(line)
            ids.extend(self._indices.get(symbol, self._unk) for symbol in symbols)
            if symbols or not line:
                ids.append(self._eos)
            ends.append(len(ids))
        return np.array(ids, dtype=self._dtype), np.diff(ends, prepend=0)


_worker_encoder: LineEncoder  # in a worker process: set once, because sending it with every batch costs more


def _start_worker(encoder: LineEncoder) -> None:
    global _worker_encoder
    _worker_encoder = encoder
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # sent by the pool to end them; the parent's handler would report it


def _encode_in_worker(lines: Sequence[str]) -> Batch:
    return _worker_encoder(lines)


@contextmanager
def _batch_map(encoder: LineEncoder, workers: int) -> Iterator[Callable[[Iterable], Iterator[Batch]]]:
    """Yield a ``map`` over batches of lines that keeps their order; its processes end with the block."""
    if workers == 1:
        yield partial(map, encoder)
    else:
        with _started_pool(workers, encoder) as pool:
            yield partial(pool.imap, _encode_in_worker)


def _started_pool(workers: int, encoder: LineEncoder) -> multiprocessing.pool.Pool:
    # Ctrl-C reaches every process. Workers inherit the mask, so only the parent handles it, which cleans up. While it
    # forks, Python drops exceptions, and another thread (of a progress bar) may receive the signal: note it until then.
    received: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, lambda number, frame: received.append(number)) if in_main else None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pool = multiprocessing.Pool(workers, _start_worker, (encoder,))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if in_main:
            signal.signal(signal.SIGINT, previous)
    if received:
        pool.terminate()
        raise KeyboardInterrupt
    return pool


def _encode(documents: Sequence[str], encode: Callable, split: str) -> list[Batch]:
    lines = "\n\n".join(documents).split("\n")  # "" between documents encodes to a single </s>
    batches = [lines[start : start + _BATCH_LINES] for start in range(0, len(lines), _BATCH_LINES)]
    # disable=None: no bar where the output is not a terminal
    encoded = list(tqdm(encode(batches), f"encoding {split}", len(batches), unit="k lines", leave=False, disable=None))
    encoded = without_vanished(encoded)
    if not sum(len(ids) for ids, _ in encoded):
        raise UserError(f"the {split} split is empty: the tokenizer finds no symbol in its text")
    return encoded


def without_vanished(batches: Sequence[Batch]) -> list[Batch]:
    """Remove lines without symbols, and the separators that would then follow another, or begin or end the split.

    A line of text has at least two ids, a separator (single ``</s>``) has one, so lengths distinguish them.
    """
    kept = []
    after_text = False  # whether the last line that was kept is text
    for ids, lengths in batches:
        keep = np.zeros(len(lengths), bool)
        for i, length in enumerate(lengths.tolist()):
            keep[i] = length > 1 or (length == 1 and after_text)
            after_text = length > 1 or (after_text and not length)
        kept.append((ids[np.repeat(keep, lengths)], lengths[keep]))
    for i in reversed(range(len(kept))):  # the last separator, if nothing follows it
        ids, lengths = kept[i]
        if len(lengths):
            if lengths[-1] == 1:
                kept[i] = ids[:-1], lengths[:-1]
            break
    return kept


def _final_dictionary(tokenizer: LineTokenizer, batches: Sequence[Batch]) -> tuple[Dictionary, np.ndarray]:
    """Return the dictionary, most frequent symbols first, and the final id of each of the tokenizer's ids."""
    dictionary = tokenizer.dictionary()
    if tokenizer.has_dictionary:
        return dictionary, np.arange(len(dictionary))
    symbols = list(dictionary.symbols)
    counts = sum((np.bincount(ids, minlength=len(symbols)) for ids, _ in batches), np.zeros(len(symbols), np.int64))
    dictionary.count = counts.tolist()
    dictionary.finalize(padding_factor=8)
    return dictionary, np.array([dictionary.index(symbol) for symbol in symbols])


def _write_split(prefix: Path, batches: Sequence[Batch], order: np.ndarray, vocab_size: int) -> None:
    data_path, index_path = f"{prefix}.bin", f"{prefix}.idx"
    builder = indexed_dataset.make_builder(data_path, impl="mmap", vocab_size=vocab_size)
    for ids, lengths in batches:
        for line in np.split(order[ids], np.cumsum(lengths)[:-1]) if len(lengths) else ():
            builder.add_item(torch.from_numpy(line))
    builder.finalize(index_path)


def _write_vocabulary(folder: Path, dictionary: Dictionary, tokenizer: LineTokenizer) -> None:
    for name, content in tokenizer.files().items():
        (folder / name).write_bytes(content)
    if not tokenizer.has_dictionary:
        dictionary.save(str(folder / DICTIONARY_FILE))


def _report(
    split: str, documents: Sequence[str], batches: Sequence[Batch], dictionary: Dictionary, seconds: float
) -> SplitReport:
    # The tokenizer's numbering and the final one agree on the special symbols.
    none = np.zeros(len(dictionary), np.int64)
    counts = sum((np.bincount(ids, minlength=len(dictionary)) for ids, _ in batches), none)
    tokens = int(counts.sum())
    return SplitReport(
        split=split,
        documents=len(documents),
        lines=sum(document.count("\n") + 1 for document in documents),
        tokens=tokens,
        types=int(np.count_nonzero(counts[dictionary.nspecial :])),
        unknown=100 * int(counts[dictionary.unk()]) / tokens,
        seconds=seconds,
    )


@contextmanager
def new_folder(output: str | Path, force: bool) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``output`` after the block, or is removed if the block fails.

    Raises:
        UserError: as :func:`check_output`, or the folder cannot be written, for example because the disk is full.
    """
    check_output(output, force)
    output = Path(os.path.realpath(output))  # what a link points at is replaced, and the link stays
    with temporary_folder(output) as temporary:
        yield temporary
        _put_in_place(temporary, output)


def check_output(output: str | Path, force: bool) -> None:
    """Check that ``output`` may be written: it is new, or empty, or with ``force`` an earlier data folder.

    Raises:
        UserError: it may not.
    """
    output = Path(output)
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file; -o needs a folder")
    names = {path.name for path in output.iterdir()}
    if names and not force:
        raise UserError(f"{output} is not empty: choose another folder, or replace it with --force")
    if foreign := sorted(names - FOLDER_FILES):
        # Replacing deletes, and a mistyped -o must not delete a home folder.
        raise UserError(f"--force replaces only data folders, and {output} also contains {foreign[0]}")


def _put_in_place(temporary: Path, output: Path) -> None:
    if not output.exists():
        temporary.rename(output)
        return
    old = temporary.with_suffix(".old")
    output.rename(old)
    try:
        temporary.rename(output)
    except BaseException:
        old.rename(output)
        raise
    shutil.rmtree(old)
