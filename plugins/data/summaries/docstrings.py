"""Documents with summaries that every installation contains: bodies and first lines of docstrings.

They are read from the sources of the standard library and of installed scientific packages, which are parsed and never
imported. Only the prose of a body is kept, without code, tables and markup (:mod:`plugins.data.text.prose`).
"""

import hashlib
import inspect
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from plugins.atomic import rename_new, temporary_folder
from plugins.data.text import prose_sources
from plugins.data.text.documents import embedded_corpus
from plugins.data.text.prose import paragraphs, without_markup
from plugins.errors import UserError

FORMAT = 1  # version of the cached pairs; changing it invalidates the cache
SPLITS = ("train", "valid", "test")
RECORDS_SIZE = 8_000_000  # bytes that the records of all splits take, about
FEWEST_WORDS = 20  # minimum words of a body
SUMMARY_WORDS = range(4, 31)
_HELD_OUT = 5  # modules in a hundred for validation, and as many for testing
_WORD = re.compile(r"[^\W\d_]+")
_SHINGLE = 8  # consecutive words that identify a copy
_TWIN = 0.5  # share of its shingles that a document has in common with the training documents


@dataclass(frozen=True)
class Pair:
    """The body and the first line of a docstring, and its module, for example ``numpy/linalg/_linalg.py``."""

    module: str
    document: str
    summary: str


def pairs() -> Iterator[Pair]:
    """Yield all pairs, in an order that depends only on what is installed; no body and no line occurs twice."""
    seen: set[str] = set()
    for module, path in tqdm(list(prose_sources.modules()), "reading docstrings", unit=" modules", disable=None):
        for text in prose_sources.docstrings(path):
            document, summary = split_docstring(text)
            marks = {" ".join(_WORD.findall(part.lower())) for part in (document, summary)}
            if summary and not marks & seen:
                seen |= marks
                yield Pair(module, document, summary)


def split_docstring(text: str) -> tuple[str, str]:
    """Return the body and the first line of a docstring, both "" if they are not prose."""
    head, _, body = inspect.cleandoc(text).partition("\n\n")
    summary = without_markup(head)
    wanted = len(summary.split()) in SUMMARY_WORDS and summary.endswith(".") and summary[0].isalpha()
    document = "\n".join(dict.fromkeys(paragraphs(body))) if wanted else ""
    return (document, summary) if len(document.split()) >= FEWEST_WORDS else ("", "")


def split_of(module: str) -> str:
    """Return the split of all pairs of a module."""
    place = int.from_bytes(hashlib.sha256(module.encode()).digest()[:4], "big") % 100
    return "valid" if place < _HELD_OUT else "test" if place < 2 * _HELD_OUT else "train"


def splits() -> dict[str, list[Pair]]:
    """Return the pairs of each split: whole modules, without held-out pairs that have a twin in the training split.

    A twin shares half of its eight-word sequences with training documents, because packages have variants of one
    function in several modules.
    """
    found: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for pair in pairs():
        found[split_of(pair.module)].append(pair)
    known = {shingle for pair in found["train"] for shingle in shingles(pair.document)}
    for split in SPLITS[1:]:
        found[split] = [pair for pair in found[split] if overlap(pair.document, known) < _TWIN]
    return found


def shingles(text: str) -> set[int]:
    """Return hashes of all sequences of eight words of a text."""
    words = _WORD.findall(text.lower())
    return {hash(tuple(words[i : i + _SHINGLE])) for i in range(max(1, len(words) - _SHINGLE + 1))}


def overlap(text: str, known: set[int]) -> float:
    """Return the fraction of a text's eight-word sequences that are known."""
    own = shingles(text)
    return len(own & known) / len(own)


def held_out_modules() -> set[str]:
    """Return the modules of validation and test, which nothing may be trained on."""
    return {module for module, _ in prose_sources.modules() if split_of(module) != "train"}


def make_folder(output: str | Path, pretraining: int) -> tuple[dict[str, int], int]:
    """Make a folder with the records of :func:`write` and with ``pretrain.txt``, atomically.

    Args:
        pretraining: bytes of prose for pretraining, without the modules of validation and test.

    Returns:
        The number of records of each split, and of characters in ``pretrain.txt``.

    Raises:
        UserError: it exists, or cannot be written.
    """
    output = Path(output)
    with temporary_folder(output) as part:
        with (part / "pretrain.txt").open("wb") as file:  # a full disk is found before minutes of reading
            if hasattr(os, "posix_fallocate"):  # macOS lacks it
                os.posix_fallocate(file.fileno(), 0, pretraining + RECORDS_SIZE)
            file.truncate(0)
        counts = write(part)
        size = 0
        bar = tqdm(desc="reading prose", total=pretraining, unit="B", unit_scale=True, leave=False, disable=None)
        with bar, (part / "pretrain.txt").open("w", encoding="utf-8") as file:
            for document in embedded_corpus(pretraining, held_out_modules()):
                size += file.write(document + "\n\n")
                bar.update(len(document) + 2)
        if not rename_new(part, output):
            raise UserError(f"{output}: exists already; name a new folder")
    return counts, size


def write(folder: str | Path) -> dict[str, int]:
    """Write ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` and return how many records each has.

    A record has an ``id``, which names the module, a ``document`` and a ``summary``.
    """
    counts = {}
    for split, members in splits().items():
        counts[split] = len(members)
        with Path(folder, f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for i, pair in enumerate(members):
                record = {"id": f"{pair.module}#{i}", "document": pair.document, "summary": pair.summary}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return counts
