"""Bootstrap intervals of means: of stored values, and over a stream of texts, which are not stored."""

from typing import Any

import numpy as np

from plugins.errors import check


class StreamingBootstrap:
    """Means over the items of texts, for example their tokens, with a bootstrap interval over the texts.

    Memory does not grow with the number of texts: for each text, every replicate draws the number of times it takes
    the text from a Poisson distribution of mean 1, which for many texts is equivalent to drawing with replacement
    (Chamandy et al., 2012, "Estimating Uncertainty for Massive Data Streams", section 3).

    Shapes: B texts at a time, P means, each an array of any shape S, R replicates.

    Args:
        resamples: R.
        seed: random seed of the draws.
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

        The mean of no items is NaN, and so is an interval over fewer than two texts.
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


def interval(
    values: np.ndarray, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the ends of a percentile interval for the mean, by a bootstrap over seeds and over groups of rows.

    Both are drawn independently, as all seeds have the same rows (Owen, 2007, "The pigeonhole bootstrap").

    Args:
        values: (n,), or (S, n), a row of it for each seed; seeds are drawn where there are two or more.
        groups: (n,) ids; rows of a group, such as near duplicates, are drawn together. None: each row is its own group.
        resamples: number of draws with replacement.
        seed: random seed of the draws.
        level: coverage of the interval.

    Raises:
        UserError: there are no rows.
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    seeds, rows = values.shape
    check(rows > 0, "no rows to take a mean of")
    members = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = members.max() + 1
    sums = np.stack([np.bincount(members, row, count) for row in values])  # (S, G)
    sizes = np.bincount(members, minlength=count)
    draws, means = np.random.default_rng(seed), np.empty(resamples)
    for i in range(resamples):
        times = np.bincount(draws.integers(count, size=count), minlength=count)  # draws per group
        means[i] = (sums @ times)[draws.integers(seeds, size=seeds)].mean() / (sizes @ times)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
