"""Rows of one to three texts as batches of tokens: by length, or P classes x K rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from plugins.data.by_length import LARGEST_BATCH, ByLength
from plugins.data.embedding import batches
from plugins.data.embedding.encoding import TextEncoder, encode_all
from plugins.data.embedding.rows import TextRows
from plugins.errors import UserError


class EmbeddingRows(ByLength):
    """Model inputs of N rows of K texts. The length of a row is that of its longest text.

    Args:
        rows: texts and labels.
        encoder: encoder of the model.
        longest: tokens at most.
        shuffle: vary the batches from epoch to epoch (training).
        classes: make batches of classes: (P or None, K or None), see :func:`plugins.data.embedding.batches.shape`.
        teacher: (N, d) float32 vectors of a teacher.
        deletion: share of the tokens removed from the copy that the text is reconstructed from (denoising).
        name: name of the rows in messages.

    Raises:
        UserError: a text cannot be encoded, or batches of classes are wanted and fewer than two classes have two rows.
    """

    def __init__(
        self,
        rows: TextRows,
        encoder: TextEncoder,
        longest: int,
        shuffle: bool = False,
        classes: tuple | None = None,
        teacher: np.ndarray | None = None,
        deletion: float = 0.0,
        name: str = "the rows",
    ):
        self.rows, self.encoder, self.labels, self.classes = rows, encoder, rows.labels, classes
        self.teacher, self.deletion, self.seed = teacher, deletion, 0
        self.columns = [
            encode_all(tqdm(column, "tokenizing", leave=False, disable=None), encoder, longest, rows.index)
            for column in rows.texts
        ]
        sizes = np.array([[len(ids) for ids in column] for column in self.columns]).max(0)
        super().__init__(sizes, longest, shuffle=shuffle)
        numbers = {text: number for number, text in enumerate(dict.fromkeys(t for c in rows.texts for t in c))}
        self.text_ids = np.array([[numbers[text] for text in column] for column in rows.texts])  # (K, N): equal texts
        self.usable = 0
        if classes:
            assert self.labels is not None, "batches of classes need labels"
            self.usable = batches.check_classes(self.labels, name)

    def ordered_indices(self) -> np.ndarray:
        """Return all indices, short rows first. fairseq seeds numpy by the epoch before it calls this."""
        self.seed = np.random.randint(2**31) if self.shuffle else 0
        return super().ordered_indices()

    def batches_of(
        self, indices: Sequence[int] | np.ndarray, max_tokens: int | None, max_sentences: int | None
    ) -> list[np.ndarray]:
        """Cut into batches by length, or by class.

        Args:
            indices: as :meth:`ordered_indices` returns them.
            max_tokens: maximum number of tokens in one column of texts of a batch, padding included.
            max_sentences: maximum number of rows in a batch.

        Raises:
            UserError: a row, or a batch of classes, does not fit.
        """
        if self.classes is None or self.labels is None:
            return super().batches_of(indices, max_tokens, max_sentences)
        fits = max_tokens // self.sizes.max() if max_tokens else LARGEST_BATCH
        size = min(max_sentences or fits, LARGEST_BATCH)
        p, k = batches.shape(size, self.usable, *self.classes)
        if max_tokens and p * k > fits:
            raise UserError(
                f"--max-tokens {max_tokens}: {p} classes x {k} rows of {self.sizes.max()} tokens do not fit; raise it, "
                "or lower --batch-size"
            )
        return batches.by_class(self.labels, p, k, np.random.default_rng(self.seed))

    def __getitem__(self, i: int) -> int:
        return i

    def collater(self, samples: Sequence[int]) -> dict[str, Any]:
        """Return a batch: tokens (K * B, T), first all first texts, then all second ones.

        ``text_ids`` (K, B) are equal for equal texts; ``target`` (B,) are labels, scores or margins; ``teacher`` (B, d)
        are vectors. With ``deletion``, the tokens are those of shortened texts, and ``whole`` has all.
        """
        if not len(samples):
            return {}
        ids = np.asarray(samples)
        texts = [column[i] for column in self.columns for i in ids]
        batch = {
            "id": torch.from_numpy(ids),
            "net_input": self.padded_batch(texts),
            "text_ids": torch.from_numpy(self.text_ids[:, ids]),
            "nsentences": len(ids),
            "ntokens": sum(map(len, texts)),
        }
        if self.deletion:
            batch["whole"] = batch["net_input"]
            batch["net_input"] = self.padded_batch(list(map(self.shortened, texts, ids)))
        if self.teacher is not None:
            batch["teacher"] = torch.from_numpy(self.teacher[ids])
        if self.labels is not None:
            batch["target"] = torch.from_numpy(self.labels[ids])
        return batch

    def padded_batch(self, texts: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """Return ``src_tokens`` (N, T) and ``src_lengths`` (N,) of N texts."""
        tokens, sizes = self.encoder.batch(texts)
        return {"src_tokens": torch.from_numpy(tokens), "src_lengths": torch.from_numpy(sizes)}

    def shortened(self, ids: np.ndarray, i: int) -> np.ndarray:
        """Return a text without some of its tokens, others in each epoch; the symbols around it and one token stay."""
        before, after = len(self.encoder.before), len(ids) - len(self.encoder.after)
        draw = np.random.default_rng((self.seed, int(i)))
        keep = draw.random(after - before) >= self.deletion
        if not keep.any():
            keep[draw.integers(len(keep))] = True
        return np.concatenate([ids[:before], ids[before:after][keep], ids[after:]])
