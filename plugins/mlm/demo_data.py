"""The data of the demo: text files, or prose of the Python installation, as a data folder with a few sentences."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins.analysis.runs.curves import unigram_perplexity
from plugins.data.dictionaries import MaskDictionary
from plugins.data.mlm.folder import check_output, split_documents, write_mlm_folder
from plugins.data.text.cache import digest
from plugins.data.text.documents import embedded_corpus, read_documents
from plugins.data.text.tokenizers import SentencePieceTokenizer
from plugins.errors import UserError
from plugins.files import read_json_if_any, write_json
from plugins.tasks.clap_masked_lm import load_lines

MOST_TEXT = 20_000_000  # maximum bytes read of a user's text: more than the updates can use
VALID_TEXT = 100_000  # bytes, approximately: enough for two digits of perplexity
FEWEST_DOCUMENTS = 20  # enough to hold out some of them
SENTENCES = [
    "This function returns the number of <mask> in the list.",
    "You may distribute copies of the software under the terms of this <mask>.",
    "If the file does not <mask>, an error is raised.",
]


def prepare(
    output: Path, files: Sequence[str], jsonl_key: str, vocab_size: int, workers: int, force: bool
) -> dict[str, Any]:
    """Make the folder ``output/data`` unless it exists, and return its description.

    Args:
        output: folder of the demo.
        files: text files; without any, prose of the Python installation.
        jsonl_key: field of JSON records with the text.
        vocab_size: largest size of the dictionary.
        workers: number of encoding processes.
        force: replace an earlier folder.

    Returns:
        ``options``, ``train_tokens``, ``valid_tokens``, ``unigram_perplexity`` and ``sentences``, each with a mask.

    Raises:
        UserError: a file cannot be read, there is too little text, or the folder cannot be written.
    """
    note = output / "data.json"
    stamps = [[os.path.abspath(path), digest(path)] for path in files]
    options = {"files": stamps, "jsonl_key": jsonl_key, "vocab_size": vocab_size}
    known = read_json_if_any(note)
    if not force and known.get("options") == options and (output / "data" / "train.idx").exists():
        print(f"{output}/data exists already")
        return known
    print(f"reading {', '.join(files) if files else 'documentation in this Python installation'}", flush=True)
    check_output(output / "data", force=True)
    documents = pieces(read_documents(files, jsonl_key)) if files else list(embedded_corpus())
    size = sum(len(document.encode()) for document in documents)
    train, valid = split_documents(documents, min(0.1, VALID_TEXT / size))
    print(f"training a sentencepiece model on {size / 1e6:.1f} MB, then encoding", flush=True)
    lines = [line for document in train for line in document.split("\n")]
    tokenizer = SentencePieceTokenizer.train(lines, vocab_size, exact=False)
    splits = {"train": train, "valid": valid}
    reports = write_mlm_folder(output / "data", splits, tokenizer, workers=workers, force=True)
    facts: dict[str, Any] = {"options": options} | {f"{report.split}_tokens": report.tokens for report in reports}
    facts |= {"unigram_perplexity": unigram(output / "data"), "sentences": masked_lines(valid) if files else SENTENCES}
    write_json(note, facts, indent=1)
    print(f"{output}/data: {facts['train_tokens']:,} tokens for training, {facts['valid_tokens']:,} for validation")
    return facts


def masked_lines(documents: Iterable[str]) -> list[str]:
    """Return three lines of moderate length, the middle word of each replaced by ``<mask>``."""
    lines = [line.split() for document in documents for line in document.split("\n")]
    lines = [words for words in lines if "<mask>" not in words]
    middling = sorted(lines, key=lambda words: abs(len(words) - 12))[:3]
    return [" ".join(w if i != len(words) // 2 else "<mask>" for i, w in enumerate(words)) for words in middling]


def pieces(documents: Iterable[str]) -> list[str]:
    """Return the documents up to :data:`MOST_TEXT`, cut at line ends if there are too few for a held-out part.

    Raises:
        UserError: the text is a single line.
    """
    kept, size = [], 0
    for document in documents:
        kept.append(document)
        size += len(document.encode())
        if size > MOST_TEXT:
            print(f"using the first {MOST_TEXT // 10**6} MB of it")
            break
    if len(kept) >= FEWEST_DOCUMENTS:
        return kept
    lines = "\n".join(kept).split("\n")
    if len(lines) < 2:
        raise UserError("the text is a single line; put each sentence or paragraph on its own line")
    step = -(-len(lines) // 100)
    return ["\n".join(lines[i : i + step]) for i in range(0, len(lines), step)]


def unigram(folder: Path) -> float:
    """Return the perplexity of the validation text under the frequencies of the training text."""
    dictionary = MaskDictionary.load(str(folder / "dict.txt"))
    counts = []
    for split in ("train", "valid"):
        lines = load_lines(str(folder / split), dictionary, combine=False)
        none = np.zeros(len(dictionary), np.int64)
        counts.append(sum((np.bincount(line, minlength=len(dictionary)) for line in lines), none))
    return unigram_perplexity(*counts)
