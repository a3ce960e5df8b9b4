"""Means with bootstrap intervals over a stream of texts, which are not stored."""

from typing import Any

import numpy as np


class StreamingBootstrap:
    """Means over the items of texts, for example their tokens, with a bootstrap interval over the texts.

    Memory does not grow with the number of texts: for each text, every replicate draws the number of times it takes
    the text from a Poisson distribution of mean 1, which for many texts is equivalent to drawing with replacement
    (Chamandy et al., 2012, "Estimating Uncertainty for Massive Data Streams", section 3).

    Shapes: B texts at a time, P means, each an array of any shape S, R replicates.

    Args:
        resamples: R.
        seed: of the draws.
    """

    def __init__(self, resamples: int = 1000, seed: int = 0):
        self.resamples, self.draws = resamples, np.random.default_rng(seed)
        self.count = 0  # texts
        self.sums: Any = 0.0
        self.items: Any = 0.0  # (1 + R, P, *S) and (1 + R, P): every text once, then the replicates
        self.texts: Any = 0  # with an item, (P,)

    def add(self, sums: np.ndarray, items: np.ndarray) -> None:
        """Add texts.

        Args:
            sums: (B, P, *S), over the items of each text.
            items: (B, P), the numbers of items.
        """
        times = np.ones((1 + self.resamples, len(sums)))
        times[1:] = self.draws.poisson(1.0, times[1:].shape)
        self.sums = self.sums + np.tensordot(times, sums, 1)
        self.items = self.items + times @ items
        self.texts = self.texts + (items > 0).sum(0)
        self.count += len(sums)

    def result(self) -> dict[str, np.ndarray]:
        """Return ``score``, the means, and ``low`` and ``high``, the ends of their 95 % intervals, all (P, *S); and the
        numbers of ``items`` and ``texts``, (P,).

        A mean over no items is NaN, and so is an interval over fewer than two texts.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.sums / self.items.reshape(self.items.shape + (1,) * (self.sums.ndim - 2))  # (1 + R, P, *S)
        ends = np.full((2, *means.shape[1:]), np.nan)
        for index, texts in enumerate(self.texts):
            drawn = means[1:, index][self.items[1:, index] > 0]  # a replicate may have taken no text at all
            if texts > 1:
                ends[:, index] = np.quantile(drawn, [0.025, 0.975], axis=0)
        items = self.items[0].astype(int)
        return {"score": means[0], "low": ends[0], "high": ends[1], "items": items, "texts": self.texts}
