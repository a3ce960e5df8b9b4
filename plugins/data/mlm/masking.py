"""Blocks of text that are masked a whole batch at a time.

Shapes: B blocks, T tokens of the longest block, U units (tokens, or words) that are masked together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils

from plugins.data.predicted import predicted


@dataclass(frozen=True)
class Masking:
    """Settings of masking (RoBERTa, section 3.1; BERT, section 3.1).

    Attributes:
        prob: fraction of the units of a block that are predicted. 0 disables masking here: every token is a target
            candidate, and the model masks instead (``--self-mask-prob``).
        leave: fraction of those that are left unchanged.
        random: fraction of those that are replaced by a random word; the rest are replaced by ``<mask>``.
        mask_index, pad_index: indices of ``<mask>`` and ``<pad>``.
        word_weights: (V,) relative frequency of each word as a random word.
        word_starts: (V,) boolean, True for tokens that start a word, to mask whole words; None to mask tokens.
    """

    prob: float
    leave: float
    random: float
    mask_index: int
    pad_index: int
    word_weights: np.ndarray
    word_starts: np.ndarray | None = None


class MaskedBlocks(FairseqDataset):
    """Blocks of tokens that are masked when a batch is collated.

    The mask of a block depends only on the seed, the epoch and the index of the block, so it is the same in any batch,
    in any worker and after a restart. In validation the epoch does not change.

    Args:
        blocks: dataset of 1-dimensional token tensors with ``sizes``.
        masking: the settings of masking.
        seed: random seed of the masks and of the order.
    """

    def __init__(self, blocks: FairseqDataset, masking: Masking, seed: int):
        self.blocks, self.masking, self.seed = blocks, masking, seed
        self.sizes = np.asarray(blocks.sizes)
        self.epoch = 0
        with data_utils.numpy_seed(seed):
            self.shuffle = np.random.permutation(len(blocks))

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        return index, self.blocks[index]

    def __len__(self) -> int:
        return len(self.blocks)

    def num_tokens(self, index: int) -> int:
        return self.sizes[index]

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return self.sizes[index]

    def ordered_indices(self) -> np.ndarray:
        """Return all indices ordered by length, in random order among blocks of equal length."""
        return self.shuffle[np.argsort(self.sizes[self.shuffle], kind="stable")]

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """Cut ordered indices into batches like fairseq, but keep the last batch if it is not a multiple."""
        batches = super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple)
        rest = indices[sum(map(len, batches)) :]
        return [*batches, rest] if len(rest) else batches

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.blocks, "supports_prefetch", False)

    def prefetch(self, indices: Sequence[int]) -> None:
        self.blocks.prefetch(indices)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return True  # only the masks change

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch

    def collater(self, samples: Sequence[tuple[int, torch.Tensor]]) -> dict[str, Any]:
        """Return a batch: masked ``net_input.src_tokens``, and ``target``, ``<pad>`` where nothing is predicted.

        ``net_input.has_padding`` is whether any token is ``<pad>``. Unless the model masks, ``predicted`` describes the
        predicted positions, see :func:`plugins.data.predicted.predicted`.
        """
        if not samples:
            return {}
        ids = np.array([index for index, _ in samples])
        tokens = data_utils.collate_tokens([block for _, block in samples], self.masking.pad_index)  # (B, T)
        lengths = np.array([len(block) for _, block in samples])
        inputs, target = mask_batch(tokens.numpy(), lengths, ids, self.masking, self.seed, self.epoch)
        batch: dict[str, Any] = {
            "id": torch.from_numpy(ids),
            "net_input": {
                "src_tokens": torch.from_numpy(inputs),
                "src_lengths": torch.from_numpy(lengths),
                "has_padding": bool(lengths.min() < tokens.size(1)),
            },
            "target": torch.from_numpy(target),
            "nsentences": len(samples),
            "ntokens": int(lengths.sum()),
        }
        if self.masking.prob:
            batch["predicted"] = predicted(target, self.masking.pad_index)
        return batch


def mask_batch(
    tokens: np.ndarray, lengths: np.ndarray, ids: np.ndarray, masking: Masking, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mask a batch.

    Args:
        tokens: (B, T), padded on the right.
        lengths: (B,) lengths without padding.
        ids: (B,) indices of the blocks in their dataset.

    Returns:
        Masked inputs (B, T), and targets (B, T) that are ``<pad>`` at positions that are not predicted.
    """
    if masking.prob == 0:
        return tokens, tokens
    unit, count = units(tokens, lengths, masking.word_starts)  # (B, T), (B,)
    rows = np.arange(len(tokens))[:, None]
    choice, kind, word = (uniform(seed, epoch, ids, tokens.shape[1], stream) for stream in range(3))  # each (B, T)
    rounding = uniform(seed, epoch, ids, 1, stream=3)[:, 0]  # (B,)
    chosen = choose(choice, count, masking.prob, rounding)[rows, unit]  # (B, T): a unit's choice is its tokens'
    chosen &= np.arange(tokens.shape[1]) < lengths[:, None]
    kind = kind[rows, unit]
    random = chosen & (kind >= masking.leave) & (kind < masking.leave + masking.random)
    masked = chosen & (kind >= masking.leave + masking.random)
    inputs = np.where(masked, masking.mask_index, tokens)
    inputs[random] = sample_words(word[random], masking.word_weights)
    return inputs, np.where(chosen, tokens, masking.pad_index)


def units(tokens: np.ndarray, lengths: np.ndarray, word_starts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit of each token, (B, T), and the number of units of each block, (B,)."""
    if word_starts is None:
        return np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape), lengths
    unit = np.maximum(word_starts[tokens].cumsum(axis=1) - 1, 0)
    return unit, np.take_along_axis(unit, lengths[:, None] - 1, axis=1)[:, 0] + 1


def choose(draw: np.ndarray, count: np.ndarray, prob: float, rounding: np.ndarray) -> np.ndarray:
    """Choose a fraction ``prob`` of each row's units, rounded up or down at random: those with the smallest draws.

    Args:
        draw: (B, U) uniform numbers.
        count: (B,) number of units of each row.
        rounding: (B,) uniform numbers.

    Returns:
        (B, U) boolean.
    """
    draw = np.where(np.arange(draw.shape[1]) < count[:, None], draw, np.inf)
    number = (prob * count + rounding).astype(int)  # (B,)
    threshold = np.take_along_axis(np.sort(draw, axis=1), np.maximum(number - 1, 0)[:, None], axis=1)
    return (draw <= threshold) & (number > 0)[:, None]


def sample_words(draw: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Map uniform numbers to indices of words, with probabilities proportional to the weights (V,)."""
    ends = np.cumsum(weights)
    return np.searchsorted(ends / ends[-1], draw, side="right")  # the last end is exactly 1, above any draw


def uniform(seed: int, epoch: int, ids: np.ndarray, length: int, stream: int) -> np.ndarray:
    """Return (B, length) numbers in [0, 1) that depend only on the arguments.

    A counter is hashed by SplitMix64 (Steele et al., 2014), because a generator object for each block would take longer
    than the masking.
    """
    seeds, epochs, streams = (np.array([number], np.uint64) for number in (seed, epoch, stream))
    key = mix(mix(mix(seeds) ^ epochs) ^ streams)
    rows = mix(key ^ ids.astype(np.uint64))[:, None]  # (B, 1)
    bits = mix(rows + np.arange(length, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(11)) * 2.0**-53


def mix(x: np.ndarray) -> np.ndarray:
    """Return SplitMix64's hash of 64-bit integers."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
