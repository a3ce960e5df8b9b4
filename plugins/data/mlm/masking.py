"""Masked blocks of text, masked a whole batch at a time.

Shapes: B blocks, T tokens of the longest block, U units (tokens, or words) that are masked together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils


@dataclass(frozen=True)
class Masking:
    """How to mask (RoBERTa, section 3.1; BERT, section 3.1).

    Attributes:
        prob: share of the units of a block that are predicted. 0: every token is a candidate for a model that masks
            by itself, and nothing is masked here.
        leave: share of those that stay as they are.
        random: share of those that become a random word; the rest become ``<mask>``.
        mask_index, pad_index: indices of ``<mask>`` and ``<pad>``.
        word_weights: (V,) relative frequency of each word as a random word.
        word_starts: (V,) boolean, True for the tokens that start a word, to mask whole words; or None.
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

    The mask of a block depends on the seed, the epoch and the block's index alone, so it is the same in any batch, in
    any worker and after a restart. In validation the epoch stands still.

    Args:
        blocks: dataset of 1-dimensional token tensors with ``sizes``.
        masking: how to mask.
        seed: of masks and of the order.
    """

    def __init__(self, blocks, masking: Masking, seed: int):
        self.blocks, self.masking, self.seed = blocks, masking, seed
        self.sizes = np.asarray(blocks.sizes)
        self.epoch = 0
        with data_utils.numpy_seed(seed):
            self.shuffle = np.random.permutation(len(blocks))

    def __getitem__(self, index):
        return index, self.blocks[index]

    def __len__(self):
        return len(self.blocks)

    def num_tokens(self, index):
        return self.sizes[index]

    def num_tokens_vec(self, indices):
        return self.sizes[indices]

    def size(self, index):
        return self.sizes[index]

    def ordered_indices(self):
        """By length, and at random among blocks of one length."""
        return self.shuffle[np.argsort(self.sizes[self.shuffle], kind="stable")]

    def batch_by_size(self, indices, max_tokens=None, max_sentences=None, required_batch_size_multiple=1):
        """Cut ordered indices into batches as fairseq does, but keep the last, which it drops if it is no multiple."""
        batches = super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple)
        rest = indices[sum(map(len, batches)) :]
        return [*batches, rest] if len(rest) else batches

    @property
    def supports_prefetch(self):
        return getattr(self.blocks, "supports_prefetch", False)

    def prefetch(self, indices):
        self.blocks.prefetch(indices)

    @property
    def can_reuse_epoch_itr_across_epochs(self):
        return True  # only the masks change

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self.epoch = epoch

    def collater(self, samples):
        """Return fairseq's batch: ``net_input.src_tokens`` masked, ``target`` with ``<pad>`` where nothing is asked."""
        if not samples:
            return {}
        ids = np.array([index for index, _ in samples])
        tokens = data_utils.collate_tokens([block for _, block in samples], self.masking.pad_index)  # (B, T)
        lengths = np.array([len(block) for _, block in samples])
        inputs, target = mask_batch(tokens.numpy(), lengths, ids, self.masking, self.seed, self.epoch)
        return {
            "id": torch.from_numpy(ids),
            "net_input": {"src_tokens": torch.from_numpy(inputs), "src_lengths": torch.from_numpy(lengths)},
            "target": torch.from_numpy(target),
            "nsentences": len(samples),
            "ntokens": int(lengths.sum()),
        }


def mask_batch(tokens, lengths, ids, masking, seed, epoch):
    """Mask a batch.

    Args:
        tokens: (B, T), padded on the right.
        lengths: (B,) without padding.
        ids: (B,) indices of the blocks in their dataset.

    Returns:
        Inputs (B, T) with masks in them, and targets (B, T) that are ``<pad>`` at the positions not predicted.
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


def units(tokens, lengths, word_starts):
    """Return the unit of each token, (B, T), and the number of units of each block, (B,)."""
    if word_starts is None:
        return np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape), lengths
    unit = np.maximum(word_starts[tokens].cumsum(axis=1) - 1, 0)
    return unit, np.take_along_axis(unit, lengths[:, None] - 1, axis=1)[:, 0] + 1


def choose(draw, count, prob, rounding):
    """Choose ``prob`` of each row's units, rounded up or down at random: those with the smallest draws.

    Args:
        draw: (B, U) uniform numbers.
        count: (B,) units of each row.
        rounding: (B,) uniform numbers.

    Returns:
        (B, U) boolean.
    """
    draw = np.where(np.arange(draw.shape[1]) < count[:, None], draw, np.inf)
    number = (prob * count + rounding).astype(int)  # (B,)
    threshold = np.take_along_axis(np.sort(draw, axis=1), np.maximum(number - 1, 0)[:, None], axis=1)
    return (draw <= threshold) & (number > 0)[:, None]


def sample_words(draw, weights):
    """Map uniform numbers to words, in proportion to their weights."""
    return np.searchsorted(np.cumsum(weights) / np.sum(weights), draw, side="right")


def uniform(seed, epoch, ids, length, stream):
    """Return (B, length) numbers in [0, 1), a function of the arguments alone.

    A counter hashed by SplitMix64 (Steele et al., 2014): a generator object for each block would cost more than all
    of the masking.
    """
    key = mix(mix(mix(np.uint64([seed])) ^ np.uint64([epoch])) ^ np.uint64([stream]))
    rows = mix(key ^ ids.astype(np.uint64))[:, None]  # (B, 1)
    bits = mix(rows + np.arange(length, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(11)) * 2.0**-53


def mix(x):
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
