"""Windows of text as batches: random windows for training, consecutive windows for evaluation.

Both datasets return ``i`` for ``dataset[i]``; ``collater`` reads the windows of a whole batch at once, which is fast.
Their memory grows only with the number of documents. Shapes: B windows in a batch, T ids of the longest window.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset

from plugins.data.predicted import predicted
from plugins.data.text.splits import TextSplit

logger = logging.getLogger(__name__)


class Windows(FairseqDataset):
    """Base class of both kinds of windows.

    Args:
        text: a split.
        length: T, length of the longest window; the target of each id is the next one.
        pad: target where there is nothing to predict.
    """

    def __init__(self, text: TextSplit, length: int, pad: int):
        self.text, self.length, self.pad = text, length, pad

    def __getitem__(self, index: int) -> int:
        return index

    def batches(self, size: int, multiple: int = 1) -> list[range]:
        """Return the indices of each batch of an epoch; the number of batches is a multiple of ``multiple``."""
        raise NotImplementedError

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (document, first position, position after the last target) of windows, each (B,)."""
        raise NotImplementedError

    def collater(self, samples: Sequence[int]) -> dict[str, Any]:
        """Return a batch: ``net_input`` {src_tokens (B, T), src_lengths (B,), style_labels (B,)}, ``target`` (B, T).

        Windows that end before others are padded on the right, with 0 in ``src_tokens`` and ``pad`` in ``target``.
        ``predicted`` describes the positions with a target, see :func:`plugins.data.predicted.predicted`.
        """
        if not len(samples):
            return {}
        indices = np.asarray(samples, np.int64)
        document, start, end = self.locate(indices)
        lengths = end - start - 1  # (B,)
        longest = max(1, int(lengths.max()))  # a document of one id has nothing to predict
        ids = self.text.read(start, longest + 1)  # (B, T + 1)
        source, target = ids[:, :-1], ids[:, 1:]
        total = int(lengths.sum())
        if total < source.size:
            padding = np.arange(longest) >= lengths[:, None]  # (B, T)
            source, target = np.where(padding, 0, source), np.where(padding, self.pad, target)
        net_input = {"src_tokens": tensor(source), "src_lengths": tensor(lengths)}
        if self.text.labels is not None:
            net_input["style_labels"] = tensor(self.text.labels[document])
        return {
            "id": tensor(indices),
            "nsentences": len(indices),
            "ntokens": total,
            "net_input": net_input,
            "target": tensor(target),
            "predicted": predicted(target, self.pad),
        }

    def size(self, index: int) -> int:
        return self.length

    num_tokens = size


class RandomWindows(Windows):
    """Windows at independent random positions (as in nanoGPT), each within one document.

    Window i of epoch e depends only on (seed, e, i), through the counter-based generator Philox (Salmon et al., 2011).
    A document is drawn with probability proportional to its length, then one of its windows uniformly; a document that
    is shorter than a window is one window. An epoch has enough windows to cover the text once, but at most ``most``.
    """

    def __init__(self, text: TextSplit, length: int, pad: int, seed: int, most: int):
        super().__init__(text, length, pad)
        self.seed, self.epoch = seed, 1
        self.windows = max(1, min(most, -(-len(text) // length)))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return False

    def __len__(self) -> int:
        return self.windows

    def batches(self, size: int, multiple: int = 1) -> list[range]:
        most = max(1, len(self.text))  # a batch of more windows than positions repeats them
        if size > most:
            logger.info("batches of %d windows, the tokens of the text, instead of %d", most, size)
            size = most
        count = -(-self.windows // (size * multiple)) * multiple  # all batches are full, so an epoch may be longer
        return [range(first, first + size) for first in range(0, count * size, size)]

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, two = uniform(self.seed, self.epoch, indices)  # (B,) each
        text, length = self.text, self.length
        if len(text.starts) == 1:
            document = np.zeros(len(indices), np.int64)
        else:
            document = np.searchsorted(text.starts, (one * len(text)).astype(np.int64), side="right") - 1
        first, end = text.starts[document], text.ends[document]
        start = first + (two * np.maximum(end - first - length, 1)).astype(np.int64)
        return document, start, np.minimum(start + length + 1, end)


class ConsecutiveWindows(Windows):
    """Consecutive windows: every id but the first of each document is predicted exactly once.

    Args:
        context: number of ids before each window that are read but not predicted again, where the document has them.
    """

    def __init__(self, text: TextSplit, length: int, pad: int, context: int = 0):
        super().__init__(text, length, pad)
        self.context = context
        counts = -(-(text.ends - text.starts - 1) // length)  # (documents,) windows of each
        self.firsts = np.cumsum(counts) - counts  # (documents,) index of the first window of each
        self.windows = int(counts.sum())

    def __len__(self) -> int:
        return self.windows

    def batches(self, size: int, multiple: int = 1) -> list[range]:
        return [range(first, min(first + size, self.windows)) for first in range(0, self.windows, size)]

    def _places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        document = np.searchsorted(self.firsts, indices, side="right") - 1
        start = self.text.starts[document] + (indices - self.firsts[document]) * self.length
        return document, start

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        document, start = self._places(indices)
        end = np.minimum(start + self.length + 1, self.text.ends[document])
        return document, np.maximum(start - self.context, self.text.starts[document]), end

    def collater(self, samples: Sequence[int]) -> dict[str, Any]:
        batch = super().collater(samples)
        if self.context and batch:
            document, start = self._places(np.asarray(samples, np.int64))
            known = np.minimum(start - self.text.starts[document], self.context)  # (B,) ids of context
            batch["target"][torch.arange(batch["target"].size(1)) < tensor(known)[:, None]] = self.pad
            batch["start_indices"] = known.tolist()
            batch["predicted"] = predicted(batch["target"].numpy(), self.pad)
            batch["ntokens"] -= int(known.sum())
        return batch


def uniform(seed: int, epoch: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two numbers in [0, 1) for each index that depend only on (seed, epoch, index); (B,) float64 each."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)  # runs of consecutive indices: one block each
    key = [seed % 2**64, epoch % 2**64]
    blocks = [np.random.Philox(key=key, counter=[run[0], 0, 0, 0]).random_raw(4 * len(run)) for run in runs]
    raw = np.concatenate(blocks).reshape(-1, 4)  # (B, 4): 53 bits of each make a float64
    return (raw[:, 0] >> np.uint64(11)) * 2.0**-53, (raw[:, 1] >> np.uint64(11)) * 2.0**-53


def tensor(values: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor that shares its memory where possible."""
    return torch.from_numpy(np.ascontiguousarray(values))
