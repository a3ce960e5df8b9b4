"""The text of a data folder: its files, how they are divided into shards, and what the first pass finds in them."""

import hashlib
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from plugins.data.mlm.duplicates import DuplicateFinder
from plugins.data.mlm.shard import ShardWork
from plugins.data.mlm.splits import TRAIN, Router, check_divisible, held_out
from plugins.data.mlm.streams import Stream, processed
from plugins.data.mlm.survey import Surveyor
from plugins.data.mlm.workers import ordered_map
from plugins.data.text import columnar
from plugins.data.text.blocks import TextSource, shards_of, text_source
from plugins.data.text.documents import embedded_corpus
from plugins.data.text.line_sample import Lines, LineSample
from plugins.data.text.sources import check_outside, files_in
from plugins.errors import UserError
from plugins.files import check_readable, read_json, write_json

VALID_FRACTION = 0.05
SURVEY = "survey.json"
DROPPED = "dropped"


@dataclass(frozen=True)
class CorpusSettings:
    """Settings of the preparation of a data folder.

    Attributes:
        output: the data folder.
        train, valid, test: files and folders of text. Without ``train`` it is English prose of the Python installation;
            without ``valid`` a random part of the training documents.
        valid_fraction: of the training documents (default: 0.05).
        jsonl_key: field of JSON records that contains the text.
        items: "lines", or "documents": a JSON record, or a document of a text file, is one item with its line breaks.
        deduplicate: "exact" or "near": drop training documents that occurred before.
        vocab_size: exact size of the dictionary (default: 8000, or what the text gives).
        sentencepiece_model: use this model instead of training one.
        gpt2_dir: folder of GPT-2's encoding, used instead of sentencepiece.
        shards: number of parts, each of which becomes a data set that fairseq concatenates with the others.
        shard_index: prepare only this part, from 0; the call that completes the last part joins them.
        seed: of the split and of the tokenizer's sample.
        workers: number of encoding processes.
        force: replace an earlier data folder.
    """

    output: str | Path
    train: Sequence[str | Path] | None = None
    valid: Sequence[str | Path] | None = None
    test: Sequence[str | Path] | None = None
    valid_fraction: float | None = None
    jsonl_key: str = "text"
    items: str = "lines"
    deduplicate: str | None = None
    vocab_size: int | None = None
    sentencepiece_model: str | Path | None = None
    gpt2_dir: str | Path | None = None
    shards: int = 1
    shard_index: int | None = None
    seed: int = 1
    workers: int = 1
    force: bool = False

    @property
    def whole_documents(self) -> bool:
        """Whether an item is a document."""
        return self.items == "documents"


class Corpus:
    """The text of a preparation.

    Args:
        options: the settings.
        spool: folder that the content of pipes, and of tables as JSON lines, is copied to, because text is read more
            than once; None: refuse them.

    Raises:
        UserError: a file is missing or cannot be read.
    """

    def __init__(self, options: CorpusSettings, spool: Path | None):
        self.options = options
        if options.train is not None:
            check_outside(options.train, {"valid": all_files(options.valid), "test": all_files(options.test)})
        self.documents = None if options.train is not None else progress_list()
        self.sources = {
            split: found_sources(paths, options.jsonl_key, spool)
            for split, paths in (("train", options.train), ("valid", options.valid), ("test", options.test))
        }
        self.spans = shards_of(self.sources["train"], options.shards)

    @property
    def splits(self) -> list[str]:
        """The splits that are written."""
        return ["train", "valid", "test"] if self.sources["test"] else ["train", "valid"]

    def stream(self, shard: int) -> Stream:
        """Return the training text of a shard."""
        whole = self.options.whole_documents or self.options.deduplicate is not None
        return Stream(self.spans[shard], self.documents, self.options.jsonl_key, whole)

    def fingerprint(self) -> dict[str, Any]:
        """Return, as plain data, what the result depends on: the settings, and size and time of each file."""
        options, files = self.options, {}
        for split, sources in self.sources.items():
            stats = [(source.name, os.stat(source.path)) for source in sources]
            files[split] = [[name, found.st_size, found.st_mtime_ns] for name, found in stats]
        names = ("valid_fraction", "jsonl_key", "items", "deduplicate", "shards", "seed")
        return {"files": files} | {name: getattr(options, name) for name in names}

    def survey(self, folder: Path, shards: Sequence[int], sample: bool) -> "tuple[StoredSurvey, Lines | None]":
        """Read the training text of some shards and write what is found into a folder.

        Args:
            sample: return a random sample of the training lines, see :mod:`plugins.data.text.line_sample`.

        Raises:
            UserError: a file cannot be read, has no text or is not UTF-8.
        """
        options = self.options
        near = options.deduplicate == "near"
        finder = DuplicateFinder(folder, near) if options.deduplicate else None
        surveyor = Surveyor(options.jsonl_key, options.whole_documents, sample, finder is not None, near)
        drawn, counts, position = LineSample(), [0] * options.shards, 0
        streams = [(shard, self.stream(shard)) for shard in shards]
        total = sum(stream.size for _, stream in streams)
        with (
            ordered_map(surveyor, options.workers) as work,
            # disable=None: no bar where the output is not a terminal
            tqdm(desc="reading", total=total, unit="B", unit_scale=True, leave=False, disable=None) as bar,
        ):
            for shard, stream in streams:

                def prepared(index: int, block: Any, shard: int = shard) -> tuple:
                    return block, (options.seed, shard, index), drawn.limit

                for found in processed(stream, work, lambda result: result.documents, bar, prepared):
                    if found.lines is not None:
                        found.lines.documents += position
                        drawn.add(found.lines)
                    if finder is not None:
                        finder.add(found.digests, found.signatures)
                    counts[shard] += found.documents
                    position += found.documents
        exact = nearly = 0
        if finder is not None:
            _, exact, nearly = finder.find(folder / DROPPED)
        write_json(folder / SURVEY, {"documents": counts, "exact": exact, "near": nearly})
        survey = StoredSurvey(folder)
        if not sample:
            return survey, None
        taken = [self.router(survey, shard).take(counts[shard]) for shard in shards]
        return survey, drawn.lines(np.concatenate(taken) != TRAIN)

    def router(self, survey: "StoredSurvey | None", shard: int) -> Router:
        """Return where the training documents of a shard go.

        Raises:
            UserError: a single document is to be divided.
        """
        if survey is None:
            return Router()
        dropped = survey.dropped(shard)
        if self.sources["valid"]:
            return Router(None, dropped)
        documents = survey.documents[shard] - (0 if dropped is None else int(np.count_nonzero(dropped)))
        if self.options.shards == 1:
            check_divisible(documents)
        fraction = VALID_FRACTION if self.options.valid_fraction is None else self.options.valid_fraction
        return Router(held_out(documents, fraction, self.options.seed + shard), dropped)

    def work(self, survey: "StoredSurvey | None", shard: int) -> ShardWork:
        """Return what a shard is made from; the first also has the files for validation and testing."""
        options = self.options
        streams = {"train": self.stream(shard)}
        if shard == 0:
            for split in ("valid", "test"):
                spans = shards_of(self.sources[split], 1)[0]
                if spans:
                    streams[split] = Stream(spans, None, options.jsonl_key, options.whole_documents)
        title = "encoding" if options.shards == 1 else f"encoding shard {shard + 1} of {options.shards}"
        separated = not options.whole_documents
        return ShardWork(streams, self.router(survey, shard), separated, leading=shard > 0, title=title)


class StoredSurvey:
    """What the first pass found, as it is stored in a folder."""

    def __init__(self, folder: Path):
        record = read_json(folder / SURVEY, dict)
        self.documents: list[int] = record["documents"]
        self.duplicates = {"exact": record["exact"], "near": record["near"]}
        self._path = folder / DROPPED

    def dropped(self, shard: int) -> np.ndarray | None:
        """Return which documents of a shard are duplicates, (documents,) booleans; None if that is not known."""
        if not self._path.exists() or not self.documents[shard]:
            return None
        first = sum(self.documents[:shard])
        return np.memmap(self._path, bool, "r", first, (self.documents[shard],))


def found_sources(paths: Sequence[str | Path] | None, key: str, spool: Path | None) -> list[TextSource]:
    """Return the files that paths name, those in folders in sorted order.

    Raises:
        UserError: missing, unreadable, a folder without text, or a pipe or table without a folder to copy it to.
    """
    sources = []
    for file in all_files(paths):
        check_readable(file)
        if columnar.is_columnar(file):
            if spool is None:
                raise UserError(f"{file}: --shards divides text files only; leave it out for tables")
            copy = spool / f"table{len(list(spool.iterdir()))}.jsonl"
            columnar.write_json_lines(file, key, copy)
            sources.append(text_source(copy, key, name=file))
        elif stat.S_ISREG(os.stat(file).st_mode):
            sources.append(text_source(file, key))
        elif spool is None:
            raise UserError(f"{file}: not a regular file, which --shards needs; write its content to a file")
        else:
            copy = spool / f"pipe{len(list(spool.iterdir()))}{'.jsonl' if file.endswith('.jsonl') else ''}"
            with open(file, "rb") as pipe, open(copy, "wb") as target:
                shutil.copyfileobj(pipe, target)
            sources.append(text_source(copy, key, name=file))
    return sources


def all_files(paths: Sequence[str | Path] | None) -> list[str]:
    """Return the files that paths name, those in folders in sorted order."""
    named = map(str, paths or ())
    return [file for path in named for file in (files_in(path) if os.path.isdir(path) else [path])]


def progress_list() -> list[str]:
    """Return the documents of the Python installation, with a bar on stderr where that is a terminal."""
    return list(tqdm(embedded_corpus(), "reading", unit=" documents", leave=False, disable=None))


def text_digest(documents: Sequence[str]) -> str:
    """Return the SHA-256 of documents in memory."""
    return hashlib.sha256("\n\n".join(documents).encode()).hexdigest()
