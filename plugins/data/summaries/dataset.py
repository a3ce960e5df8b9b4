"""Documents and summaries as tokens: encoded once on disk, joined to one text each, batched by length.

Shapes: B texts in a batch, T tokens, N records.
"""

import os
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from plugins.data.by_length import ByLength
from plugins.data.predicted import predicted
from plugins.data.summaries.reader import Columns, Record, read, share
from plugins.data.text import columnar
from plugins.data.text.cache import cached, digest
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError

FORMAT = 2  # version of the cache files
_TOKEN = re.compile(r"<\|.+\|>")


@dataclass(frozen=True)
class Layout:
    """Layout of a document and its summary as one text: document, separator, summary, end.

    Attributes:
        separator: tokens.
        blank: whether the summary is encoded with a blank before it, as in running text.
        end: the token of the end.
    """

    separator: tuple[int, ...]
    blank: bool
    end: int

    @classmethod
    def of(cls, separator: str, dictionary: TokenDictionary) -> "Layout":
        """Return the layout for a separator: a token written ``<|...|>``, words (on a new line), or "".

        A token that is not in the dictionary is added to it.
        """
        if _TOKEN.fullmatch(separator) or separator in dictionary.added:
            return cls((dictionary.add_symbol(separator),), False, dictionary.eos())
        words = dictionary.tokenizer.encode("\n" + separator) if separator else []
        return cls(tuple(words), True, dictionary.eos())

    def prompt(self, document: Sequence[int] | np.ndarray, room: int) -> torch.Tensor:
        """Return at most ``room`` tokens (T,) that a summary follows: the document, truncated, and the separator."""
        kept = np.asarray(document[: room - len(self.separator)], np.int64)
        return torch.from_numpy(np.concatenate([kept, np.array(self.separator, np.int64)]))


@dataclass(frozen=True)
class EncodedRecords:
    """N records as tokens (S,): document, summary, document, ..., each beginning at its offset (2N + 1,)."""

    path: str
    tokens: np.ndarray
    offsets: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def sizes(self) -> np.ndarray:
        """(N, 2) tokens of each document and each summary."""
        return np.diff(self.offsets).reshape(-1, 2)

    def document(self, i: int) -> np.ndarray:
        """Return the tokens of a document."""
        return self.tokens[self.offsets[2 * i] : self.offsets[2 * i + 1]]

    def summary(self, i: int) -> np.ndarray:
        """Return the tokens of a summary."""
        return self.tokens[self.offsets[2 * i + 1] : self.offsets[2 * i + 2]]


def load(
    path: Path,
    columns: Columns,
    layout: Layout,
    dictionary: TokenDictionary,
    cache: str,
    *,
    skip_bad_rows: bool = False,
    part: tuple[float, float] = (0.0, 1.0),
) -> EncodedRecords:
    """Encode a file, or load it from the cache.

    Args:
        cache: folder of the cache.
        part: range of :func:`.summaries.share` of the records to use, for a file with several splits.

    Raises:
        UserError: a record is bad, or has text without a symbol in the dictionary.
    """

    def write(folder: str) -> dict:
        records = read(path, columns, skip_bad_rows=skip_bad_rows)
        chosen = (record for record in records if part[0] <= share(record.document) < part[1])
        return encode(path, chosen, layout, dictionary, Path(folder))

    key = {
        "format": FORMAT,
        "files": {"data": [[str(part.resolve()), digest(part)] for part in columnar.parts(path)]},
        "columns": asdict(columns),
        "blank": layout.blank,
        "part": part,
        "skip": skip_bad_rows,
        "dictionary": dictionary.fingerprint(),
    }
    folder, _ = cached(cache, key, write)
    tokens, offsets, lines = (np.load(os.path.join(folder, f"{name}.npy"), mmap_mode="r") for name in NAMES)
    return EncodedRecords(str(path), tokens, np.asarray(offsets), np.asarray(lines))


NAMES = ("tokens", "offsets", "lines")


def encode(
    path: Path, records: Iterable[Record], layout: Layout, dictionary: TokenDictionary, folder: Path
) -> dict[str, int]:
    """Write the arrays of :class:`EncodedRecords` into a folder, and return the number of records.

    Raises:
        UserError: there are no records, or one has text without a symbol in the dictionary.
    """
    tokens, offsets, lines = array("i"), array("q", [0]), array("q")
    blank = " " if layout.blank else ""
    for record in tqdm(records, f"encoding {path.name}", unit=" records", leave=False, disable=None):
        try:
            for text in (record.document, blank + (record.summary or "")):
                tokens.extend(dictionary.tokenizer.encode(text))
                offsets.append(len(tokens))
        except UserError as error:
            raise UserError(f"{path}:{record.line}: {error}") from None
        lines.append(record.line)
    if not lines:
        raise UserError(f"{path}: no records for this split; change --valid-fraction")
    smallest = np.uint16 if len(dictionary) < 2**16 else np.int32
    for name, values in zip(NAMES, (np.array(tokens, smallest), np.array(offsets), np.array(lines)), strict=True):
        np.save(folder / f"{name}.npy", values)
    return {"records": len(lines)}


class SummaryDataset(ByLength):
    """Texts of documents and their summaries.

    A document that leaves no room for its summary is truncated; a summary never is.

    Args:
        encoded: the records.
        layout: layout of a text.
        pad: target where there is no loss.
        longest: largest number of tokens of an input of the model.
        document_tokens: largest number of tokens of a document; None for as many as fit.
        loss_on: "summary", including the end token; or "all", every token but the first.
        skip_too_long: leave out records that do not fit instead of raising an error.
        shuffle: vary the batches from epoch to epoch (training).
        sampled: number of rows, drawn with ``seed``, in separate batches that contain prompts and references.
        prompt_room: largest number of tokens of a prompt.

    Raises:
        UserError: a summary fills the model's block.
    """

    shorter = "--document-tokens"

    def __init__(
        self,
        encoded: EncodedRecords,
        layout: Layout,
        pad: int,
        longest: int,
        *,
        document_tokens: int | None = None,
        loss_on: str = "summary",
        skip_too_long: bool = False,
        shuffle: bool = False,
        sampled: int = 0,
        seed: int = 1,
        prompt_room: int | None = None,
    ):
        self.encoded, self.layout, self.pad, self.loss_on = encoded, layout, pad, loss_on
        self.prompt_room = min(prompt_room or longest, (document_tokens or longest) + len(layout.separator))
        documents, summaries = encoded.sizes.T  # (N,)
        room = longest - len(layout.separator) - summaries
        self.rows = np.flatnonzero((room > 0) & (documents > 0))  # indices of the records that are used
        self.skipped = len(encoded) - len(self.rows)
        if self.skipped and not skip_too_long or not len(self.rows):
            i = int(np.flatnonzero((room <= 0) | (documents == 0))[0])
            if documents[i] == 0:
                raise UserError(
                    f"{encoded.path}:{encoded.lines[i]}: the tokenizer finds no symbol in the document; correct it, or "
                    "leave such records out: --skip-bad-rows"
                )
            raise UserError(
                f"{encoded.path}:{encoded.lines[i]}: the summary's {summaries[i]} tokens and a document do not "
                f"fit the model, which takes {longest}; shorten it, or leave such records out: --skip-bad-rows"
            )
        kept = np.minimum(documents, np.minimum(room, document_tokens or longest))[self.rows]
        self.cut = int((kept < documents[self.rows]).sum())
        self.documents, self.summaries = kept, summaries[self.rows]
        super().__init__(kept + len(layout.separator) + self.summaries, longest, shuffle=shuffle)
        order = np.random.RandomState(seed).permutation(len(self))
        self.sample = np.sort(order[:sampled])

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Return a text as tokens (T + 1,) with its end, the start of its loss, and its index."""
        row, layout = self.rows[i], self.layout
        document = self.encoded.document(row)[: self.documents[i]]
        parts = [document, layout.separator, self.encoded.summary(row), [layout.end]]
        tokens = np.concatenate([np.asarray(part, np.int64) for part in parts])
        start = len(document) + len(layout.separator) - 1 if self.loss_on == "summary" else 0
        return {"id": i, "tokens": tokens, "start": start}

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch for the criterion: tokens and targets (B, T), padded on the right.

        A batch of sampled rows has ``prompts`` and ``references`` too, a list of (T,) each.
        """
        if not samples:
            return {}
        sizes = np.array([len(sample["tokens"]) - 1 for sample in samples])
        tokens = np.full((len(samples), sizes.max()), self.layout.end, np.int64)  # nothing sees what is after a text
        target = np.full_like(tokens, self.pad)
        for i, (sample, size) in enumerate(zip(samples, sizes, strict=True)):
            tokens[i, :size] = sample["tokens"][:-1]
            target[i, sample["start"] : size] = sample["tokens"][sample["start"] + 1 :]
        ids = [sample["id"] for sample in samples]
        batch = {
            "id": torch.tensor(ids),
            "net_input": {"src_tokens": torch.from_numpy(tokens), "src_lengths": torch.from_numpy(sizes)},
            "target": torch.from_numpy(target),
            "predicted": predicted(target, self.pad),
            "nsentences": len(samples),
            "ntokens": int(sizes.sum()),
        }
        if len(self.sample) and np.isin(ids, self.sample).all():
            batch["prompts"] = [self.prompt(i) for i in ids]
            batch["references"] = [torch.from_numpy(self.encoded.summary(self.rows[i]).astype(np.int64)) for i in ids]
        return batch

    def prompt(self, i: int) -> torch.Tensor:
        """Return the prompt (T,) of a row."""
        return self.layout.prompt(self.encoded.document(self.rows[i]), self.prompt_room)

    def batches_of(
        self, indices: Sequence[int] | np.ndarray, max_tokens: int | None, max_sentences: int | None
    ) -> list[np.ndarray]:
        """Cut ordered indices into batches; rows of the sample and the others are in separate batches."""
        indices = np.asarray(indices)
        sampled = np.isin(indices, self.sample)
        parts = [super(SummaryDataset, self).batches_of(part, max_tokens, max_sentences)
                 for part in (indices[sampled], indices[~sampled])]  # fmt: skip
        return sum(parts, [])


def describe(dataset: SummaryDataset) -> str:
    """Return a line for the log."""
    text = f"{len(dataset)} records, {dataset.cut} documents cut"
    why = "whose summary is too long, or whose document has no token"
    return text + (f", {dataset.skipped} records left out {why}" if dataset.skipped else "")
