"""Aggregate several rankings of the same items.

Borda, 1781; reciprocal rank fusion (RRF): Cormack, Clarke and Buettcher, 2009.

Shapes: R rankings, n items.
"""

import numpy as np
from scipy.stats import rankdata

from plugins.errors import check

METHODS = ("rrf", "borda", "median", "mean")
SMOOTHING = 60  # k of RRF


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks of items in each ranking, (R, n), 1 for the highest score; equal scores share a mean rank."""
    return rankdata(-np.atleast_2d(scores), axis=1)


def rrf(ranked: np.ndarray, k: int = SMOOTHING) -> np.ndarray:
    """Return sum 1 / (k + rank) over rankings, (n,), higher is better."""
    return (1 / (k + ranked)).sum(0)


def aggregate(scores: np.ndarray, method: str = "rrf") -> np.ndarray:
    """Return an aggregate score for each item, (n,), higher is better.

    Args:
        scores: (R, n), higher is better.
        method: ``rrf``; ``borda``, minus the mean rank; ``median``, minus the median rank; ``mean`` of the scores.

    Raises:
        UserError: the method is unknown, or a score is NaN.
    """
    check(method in METHODS, f"--aggregate {method}: the choices are {', '.join(METHODS)}")
    scores = np.atleast_2d(np.asarray(scores, np.float64))
    check(not np.isnan(scores).any(), "scores: a value is NaN")
    if method == "mean":
        return scores.mean(0)
    ranked = ranks(scores)
    return {"rrf": rrf, "borda": lambda r: -r.mean(0), "median": lambda r: -np.median(r, 0)}[method](ranked)
