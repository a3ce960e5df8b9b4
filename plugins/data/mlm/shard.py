"""Encode a shard of a corpus into raw items with the tokenizer's own numbering, and join shards into a data folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fairseq.data import Dictionary, indexed_dataset
from tqdm import tqdm

from plugins.data.mlm.encoding import EncodedBlock, LineEncoder
from plugins.data.mlm.indexed import write_indexed
from plugins.data.mlm.splits import TRAIN, VALID, Router, SplitWriter
from plugins.data.mlm.streams import Map, Stream, processed
from plugins.data.text.tokenizers import DICTIONARY_FILE, LineTokenizer
from plugins.errors import UserError
from plugins.files import read_json, write_json

SPLITS = ("train", "valid", "test")
RECORD = "shard.json"


@dataclass(frozen=True)
class SplitReport:
    """Size of one split."""

    split: str
    documents: int
    lines: int
    """Lines of text, without the empty lines between documents; with whole documents as items, items."""
    tokens: int
    """Tokens including every ``</s>``, as fairseq reports the size of the data."""
    types: int
    """Distinct symbols, special symbols excluded."""
    unknown: float
    """Percentage of the tokens that are ``<unk>``."""
    seconds: float


@dataclass(frozen=True)
class ShardWork:
    """What a shard is made from.

    Attributes:
        streams: by split. Documents of "train" may also be routed to "valid".
        router: router of the documents of "train".
        separated: write a separator between documents.
        leading: another shard precedes.
        title: title of the progress bar.
    """

    streams: Mapping[str, Stream]
    router: Router
    separated: bool = True
    leading: bool = False
    title: str = "encoding"


def encode_shard(folder: Path, work: ShardWork, encoder: LineEncoder, encode: Map) -> None:
    """Write the raw items of a shard and a record of them into a new folder.

    Args:
        encode: maps blocks to :class:`.encoding.EncodedBlock`, with the ids of ``encoder``.

    Raises:
        UserError: a file cannot be read, is damaged, has no text or is not UTF-8.
    """
    size = len(encoder.indices)
    writers = {
        split: SplitWriter(folder / split, encoder.dtype, encoder.eos, size, work.separated, work.leading)
        for split in SPLITS
    }
    seconds = dict.fromkeys(SPLITS, 0.0)
    total = sum(stream.size for stream in work.streams.values())
    # disable=None: no bar where the output is not a terminal
    with tqdm(desc=work.title, total=total, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for split, stream in work.streams.items():
            start = time.monotonic()
            router = work.router if split == "train" else Router()
            targets = (writers[split], writers["valid"])
            last = TRAIN  # where the last document goes
            for encoded in processed(stream, encode, lambda found: len(found.starts), bar):
                last = _route(encoded, router.take(len(encoded.starts)), last, targets)
            seconds[split] = time.monotonic() - start
    for split, writer in writers.items():
        writer.close()
        np.save(folder / f"{split}.counts.npy", writer.counts)
    rows = {
        split: {
            "documents": writer.documents,
            "lines": writer.lines,
            "items": writer.items.items,
            "tokens": writer.items.tokens,
            "seconds": seconds[split],
        }
        for split, writer in writers.items()
    }
    write_json(folder / RECORD, {"splits": rows, "read": {split: s.read for split, s in work.streams.items()}})


def _route(encoded: EncodedBlock, targets: np.ndarray, last: int, writers: Sequence[SplitWriter]) -> int:
    """Write a block to the splits of its documents; return where the last one goes.

    Args:
        targets: (documents,) TRAIN, VALID or DROPPED.
        last: where the lines before the first document go.
    """
    ids, sizes, starts = encoded.ids, encoded.sizes, encoded.starts
    if not len(sizes):
        return last
    begins = np.zeros(len(sizes), bool)
    begins[starts] = True
    target = np.concatenate([[last], targets])[np.cumsum(begins)]  # (lines,)
    for split, writer in ((TRAIN, writers[0]), (VALID, writers[1])):
        chosen = target == split
        if chosen.all():
            writer.add(ids, sizes, begins)
        elif chosen.any():
            writer.add(ids[np.repeat(chosen, sizes)], sizes[chosen], begins[chosen])
    return int(target[-1])


def join_shards(
    folder: Path, shards: Sequence[Path], tokenizer: LineTokenizer, splits: Sequence[str]
) -> tuple[list[SplitReport], dict[str, Any]]:
    """Write a data folder from the raw items of its shards: the dictionary, the tokenizer, and the splits.

    Each shard with training text becomes a data set: ``train``, ``train1``, ``train2``, ..., which fairseq
    concatenates. Other splits are one data set.

    Returns:
        The reports, and the record for the manifest.

    Raises:
        UserError: a split is empty.
    """
    records = [read_json(shard / RECORD, dict) for shard in shards]
    counts = {split: sum(np.load(shard / f"{split}.counts.npy") for shard in shards) for split in splits}
    raw = np.dtype(indexed_dataset.best_fitting_int_dtype(len(tokenizer.dictionary())))
    dictionary, order = final_dictionary(tokenizer, counts["train"])
    dtype = np.dtype(indexed_dataset.best_fitting_int_dtype(len(dictionary)))
    reports, parts = [], []
    files: dict[str, dict] = {}
    for split in splits:
        rows = [record["splits"][split] for record in records]
        filled = [(shard, row) for shard, row in zip(shards, rows, strict=True) if row["items"]]
        if not filled:
            raise UserError(f"the {split} split is empty: the tokenizer finds no symbol in its text")
        if split == "train":
            for number, (shard, row) in enumerate(filled):
                name = f"train{number or ''}"
                files |= write_indexed(folder / name, [shard / split], raw, order, dtype)
                parts.append({"name": name} | {key: row[key] for key in ("documents", "lines", "items", "tokens")})
        else:
            files |= write_indexed(folder / split, [shard / split for shard, _ in filled], raw, order, dtype)
        reports.append(_report(split, rows, counts[split], dictionary))
    write_vocabulary(folder, dictionary, tokenizer)
    read = {split: [part for record in records for part in record["read"].get(split, ())] for split in splits}
    table = [{key: value for key, value in asdict(report).items() if key != "seconds"} for report in reports]
    return reports, {"splits": table, "train_shards": parts, "sources": read, "files": files}


def final_dictionary(tokenizer: LineTokenizer, counts: np.ndarray) -> tuple[Dictionary, np.ndarray]:
    """Return the dictionary, most frequent symbols first, and the final id of each of the tokenizer's ids.

    Args:
        counts: (V,) occurrences of each of the tokenizer's symbols.
    """
    dictionary = tokenizer.dictionary()
    if tokenizer.has_dictionary:
        return dictionary, np.arange(len(dictionary))
    symbols = list(dictionary.symbols)
    dictionary.count = counts.tolist()
    dictionary.finalize(padding_factor=8)
    return dictionary, np.array([dictionary.index(symbol) for symbol in symbols])


def write_vocabulary(folder: Path, dictionary: Dictionary, tokenizer: LineTokenizer) -> None:
    """Write ``dict.txt`` and the files of the tokenizer."""
    for name, content in tokenizer.files().items():
        (folder / name).write_bytes(content)
    if not tokenizer.has_dictionary:
        dictionary.save(str(folder / DICTIONARY_FILE))


def _report(split: str, rows: Sequence[dict], counts: np.ndarray, dictionary: Dictionary) -> SplitReport:
    tokens = int(counts.sum())
    # The tokenizer's numbering and the final one agree on the special symbols.
    return SplitReport(
        split=split,
        documents=sum(row["documents"] for row in rows),
        lines=sum(row["lines"] for row in rows),
        tokens=tokens,
        types=int(np.count_nonzero(counts[dictionary.nspecial :])),
        unknown=100 * int(counts[dictionary.unk()]) / tokens,
        seconds=sum(row["seconds"] for row in rows),
    )
