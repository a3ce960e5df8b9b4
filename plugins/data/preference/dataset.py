"""Batches of comparisons, of rated texts, or of lists of rated texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from plugins.data.by_length import ByLength
from plugins.data.embedding.encoding import TextEncoder, encode_all
from plugins.data.preference.rows import Preferences

POINTWISE, PAIRWISE, LISTWISE = "pointwise", "pairwise", "listwise"
OBJECTIVES = (POINTWISE, PAIRWISE, LISTWISE)
TIE = 2  # outcome of a tie


class PreferenceRows(ByLength):
    """Rows of one text, two texts, or a list of texts. The two texts of a comparison are always in one batch.

    Args:
        found: what was read.
        encoder: encoder of the model.
        longest: tokens of a text at most.
        objective: kind of row; for ``listwise``, comparisons without ratings are lists of two.
        list_size: texts in a list, where no column groups them.
        shuffle: vary the batches, and the lists, from epoch to epoch (training).
    """

    def __init__(
        self,
        found: Preferences,
        encoder: TextEncoder,
        longest: int,
        objective: str = PAIRWISE,
        list_size: int = 8,
        shuffle: bool = False,
    ):
        self.found, self.encoder, self.objective, self.list_size = found, encoder, objective, list_size
        names = map(str, range(1, len(found.texts) + 1))
        bar = tqdm(found.texts, "tokenizing", leave=False, disable=None)
        self.tokens = encode_all(bar, encoder, longest, names)
        self.lengths = np.array([len(ids) for ids in self.tokens])
        self.rows = self.make_rows(np.random.default_rng(0))
        super().__init__(self.sizes_of(self.rows), longest, shuffle=shuffle)

    def make_rows(self, draw: np.random.Generator) -> list[np.ndarray]:
        """Return the text numbers of each row."""
        found = self.found
        if self.objective == PAIRWISE or (self.objective == LISTWISE and not found.rated):
            return list(found.pairs)
        if self.objective == POINTWISE:
            return [np.array([i]) for i in range(len(found.texts))]
        if found.groups is not None:
            return [np.flatnonzero(found.groups == group) for group in np.unique(found.groups)]
        order = draw.permutation(len(found.texts))
        return np.array_split(order, max(1, len(order) // self.list_size))

    def sizes_of(self, rows: list[np.ndarray]) -> np.ndarray:
        """Return the length of the longest text of each list of rows."""
        return np.array([self.lengths[row].max() for row in rows])

    def ordered_indices(self) -> np.ndarray:
        """Return all indices, short rows first. fairseq seeds numpy by the epoch before it calls this."""
        if self.shuffle and self.objective == LISTWISE:
            self.rows = self.make_rows(np.random.default_rng(np.random.randint(2**31)))
            self.sizes = self.sizes_of(self.rows)
        return super().ordered_indices()

    def __getitem__(self, i: int) -> int:
        return i

    def collater(self, samples: Sequence[int]) -> dict[str, Any]:
        """Return a batch: tokens (M, T) of all texts of B rows, their ``rows`` (M,) and, as far as there are any,
        ``gains`` (M,), ``outcomes``, ``margins`` and ``weights`` (B,).
        """
        if not len(samples):
            return {}
        ids = np.asarray(samples)
        chosen = [self.rows[i] for i in ids]
        texts = np.concatenate(chosen)
        tokens, lengths = self.encoder.batch([self.tokens[i] for i in texts])
        batch = {
            "id": torch.from_numpy(ids),
            "net_input": {"src_tokens": torch.from_numpy(tokens), "src_lengths": torch.from_numpy(lengths)},
            "rows": torch.from_numpy(np.repeat(np.arange(len(ids)), [len(row) for row in chosen])),
            "texts": torch.from_numpy(texts),
            "nsentences": len(ids),
            "ntokens": int(lengths.sum()),
        }
        if self.found.scores is not None:
            batch["gains"] = torch.from_numpy(self.found.scores[texts])
        if self.objective == PAIRWISE or not self.found.rated:
            for name in ("outcomes", "margins", "weights"):
                batch[name] = torch.from_numpy(getattr(self.found, name)[ids])
        return batch
