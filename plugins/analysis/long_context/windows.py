"""How a text is cut into windows, and the losses found in them.

Shapes: W passages, L tokens in a window, K bins.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

TOKENS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class WindowSettings:
    """Settings of the evaluation.

    Attributes:
        lengths: L of each evaluation, in tokens, ascending.
        windows: W, at most: windows of the longest length.
        stride: predictions of each sliding window.
        mask_prob: share of masked tokens, for masked LMs.
        seed: random seed of the masks.
    """

    lengths: tuple[int, ...]
    windows: int = 32
    stride: int = 32
    mask_prob: float = 0.15
    seed: int = 1


@dataclass(frozen=True)
class WindowLosses:
    """Losses in windows that do not overlap.

    Attributes:
        losses: (W,) mean of each passage.
        name: name of the bins.
        edges: K pairs, where each bin starts and ends; None: no end.
        bins: (K, W) means, NaN for a passage without predictions in the bin.
        tokens: number of tokens that were read.
    """

    losses: np.ndarray
    name: str
    edges: list[tuple[int, int | None]]
    bins: np.ndarray
    tokens: int


def starts_of(passages: int, longest: int, length: int) -> np.ndarray:
    """Return where the windows of each passage start, (W, windows in a passage)."""
    within = np.arange(0, longest - length + 1, length)
    return np.arange(passages)[:, None] * longest + within


def batches(windows: Tensor) -> Iterator[Tensor]:
    """Split windows (W, L) into batches of about ``TOKENS_AT_ONCE`` tokens."""
    return iter(windows.split(max(1, TOKENS_AT_ONCE // windows.size(1))))


def means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return sums over counts, NaN where nothing was counted."""
    with np.errstate(invalid="ignore"):
        return sums / counts
