"""Prepare a data folder from text files: read, split, train a tokenizer, encode, write."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from plugins.data.mlm.folder import FOLDER_FILES, SplitReport, check_output, split_documents, write_mlm_folder
from plugins.data.text.documents import embedded_corpus, read_documents
from plugins.data.text.tokenizers import GPT2_FILES, GPT2Tokenizer, LineTokenizer, SentencePieceTokenizer
from plugins.files import check_not_read

VALID_FRACTION = 0.05
VOCABULARY = 8000


@dataclass(frozen=True)
class Preparation:
    """Settings of the preparation of a data folder.

    Attributes:
        output: the data folder.
        train, valid, test: files of text. Without ``train`` it is English prose of the Python installation; without
            ``valid`` a random part of the training documents.
        valid_fraction: of the training documents (default: 0.05).
        jsonl_key: field of JSON records that contains the text.
        vocab_size: exact size of the dictionary (default: 8000, or what the text gives).
        sentencepiece_model: use this model instead of training one.
        gpt2_dir: folder of GPT-2's encoding, used instead of sentencepiece.
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
    vocab_size: int | None = None
    sentencepiece_model: str | Path | None = None
    gpt2_dir: str | Path | None = None
    seed: int = 1
    workers: int = 1
    force: bool = False

    def inputs(self) -> list[str | Path]:
        """Return the files that are read."""
        gpt2 = [Path(self.gpt2_dir, name) for name in GPT2_FILES] if self.gpt2_dir else []
        model = [self.sentencepiece_model] if self.sentencepiece_model else []
        return [*(self.train or ()), *(self.valid or ()), *(self.test or ()), *model, *gpt2]

    def run(self) -> list[SplitReport]:
        """Prepare the folder; progress goes to stderr.

        Raises:
            UserError: a file cannot be read or would be overwritten, there is too little text, or the folder may not or
                cannot be written. Nothing is written then.
        """
        check_output(self.output, self.force)  # before minutes of work
        check_not_read([os.path.join(self.output, name) for name in sorted(FOLDER_FILES)], self.inputs())
        splits = self.read()
        return write_mlm_folder(
            self.output, splits, self.tokenizer(splits["train"]), workers=self.workers, force=self.force
        )

    def read(self) -> dict[str, list[str]]:
        """Return the documents of each split."""
        train = progress(embedded_corpus() if self.train is None else read_documents(self.train, self.jsonl_key))
        if self.valid:
            valid = progress(read_documents(self.valid, self.jsonl_key))
        else:
            fraction = VALID_FRACTION if self.valid_fraction is None else self.valid_fraction
            train, valid = split_documents(train, fraction, self.seed)
        splits = {"train": train, "valid": valid}
        if self.test:
            splits["test"] = progress(read_documents(self.test, self.jsonl_key))
        return splits

    def tokenizer(self, train: Sequence[str]) -> LineTokenizer:
        """Return the tokenizer; a new sentencepiece model is trained on the documents."""
        if self.gpt2_dir:
            return GPT2Tokenizer(self.gpt2_dir)
        if self.sentencepiece_model:
            return SentencePieceTokenizer.from_file(self.sentencepiece_model)
        lines = [line for document in train for line in document.split("\n")]
        size, exact = (VOCABULARY, False) if self.vocab_size is None else (self.vocab_size, True)
        megabytes = sum(map(len, lines)) / 1e6
        # sentencepiece reports no progress: show a bar without a length
        what = f"training a sentencepiece model on {megabytes:.1f} million characters"
        with tqdm(desc=what, bar_format="{desc}", leave=False, disable=None):
            return SentencePieceTokenizer.train(lines, size, exact=exact, seed=self.seed)


def progress(documents: Iterable[str]) -> list[str]:
    """Return the documents as a list, with a bar on stderr where that is a terminal."""
    return list(tqdm(documents, "reading", unit=" documents", leave=False, disable=None))
