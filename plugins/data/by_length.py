"""Batches of rows of similar length, limited by the number of tokens."""

from collections.abc import Sequence

import numpy as np
from fairseq.data import FairseqDataset

from plugins.errors import UserError

LENGTH_NOISE = 0.1  # relative noise on lengths, so that batches differ from epoch to epoch
LEAST_USED = 0.9  # fraction of the tokens of a batch that are not padding, see :func:`cuts`
SMALL_BATCH = (1024, 16_384)  # tokens, on a CPU and on a GPU: smaller batches take longer for a token
LARGEST_BATCH = 512  # rows; fairseq gathers the results of validation in messages of 16 kB


class ByLength(FairseqDataset):
    """A dataset of rows of tokens.

    Args:
        sizes: (N,) tokens of each row.
        longest: largest length that batches are padded to.
        pad_multiple: batches are padded to a multiple of this length.
        shuffle: vary the batches from epoch to epoch (training).
    """

    shorter = "--max-positions"  # the option that makes rows shorter

    def __init__(self, sizes: np.ndarray, longest: int, pad_multiple: int = 1, shuffle: bool = False):
        self.sizes, self.longest, self.pad_multiple, self.shuffle = sizes, longest, pad_multiple, shuffle

    def __len__(self) -> int:
        return len(self.sizes)

    def padded(self, size: int) -> int:
        """Return the length that a batch with a longest row of ``size`` tokens is padded to."""
        return min(-(-int(size) // self.pad_multiple) * self.pad_multiple, self.longest)

    def num_tokens(self, i: int) -> int:
        return int(self.sizes[i])

    size = num_tokens

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return not self.shuffle

    @property
    def supports_prefetch(self) -> bool:
        return False

    def ordered_indices(self) -> np.ndarray:
        """Return all indices, short rows first. fairseq seeds numpy with the epoch before it calls this."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        noise = np.random.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(self))
        return np.argsort(self.sizes * noise, kind="stable")

    def batch_by_size(
        self,
        indices: Sequence[int] | np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """Return :meth:`batches_of`; ``required_batch_size_multiple``, which makes fairseq drop rows, is ignored."""
        return self.batches_of(indices, max_tokens, max_sentences)

    def batches_of(
        self, indices: Sequence[int] | np.ndarray, max_tokens: int | None, max_sentences: int | None
    ) -> list[np.ndarray]:
        """Cut ordered indices into batches.

        Args:
            max_tokens: largest number of tokens in a batch, including padding.
            max_sentences: largest number of rows in a batch.

        Raises:
            UserError: a row is longer than ``max_tokens``.
        """
        most = min(max_sentences or LARGEST_BATCH, LARGEST_BATCH)
        batches: list[np.ndarray] = []
        batch: list[int] = []
        longest = 0
        for i in indices:
            length = max(longest, self.padded(self.sizes[i]))
            if batch and (len(batch) == most or (max_tokens and length * (len(batch) + 1) > max_tokens)):
                batches.append(np.array(batch))
                batch, length = [], self.padded(self.sizes[i])
            if max_tokens and length > max_tokens:
                raise UserError(f"--max-tokens {max_tokens}: an input has {length}; raise it, or lower {self.shorter}")
            batch.append(i)
            longest = length
        return [*batches, np.array(batch)] if batch else batches


def cuts(lengths: Sequence[int], most: int, small: int) -> list[int]:
    """Return where to cut texts in descending order of length into batches, so that little is computed for padding.

    Args:
        lengths: tokens of each text, the longest first.
        most: maximum texts in a batch.
        small: tokens, padding included, that a batch may have however much of it is padding.
    """
    found, start, used = [], 0, 0
    for i, length in enumerate(lengths):
        padded = (i + 1 - start) * lengths[start]
        if i > start and (i - start == most or (padded > small and used + length < LEAST_USED * padded)):
            found.append(i)
            start, used = i, 0
        used += length
    return found
