"""Learning curves: nested subsets of the rows, and a power law through the bits they give."""

import numpy as np
from scipy.optimize import curve_fit

from plugins.errors import check

from . import folds


def nested(labels: np.ndarray, share: float, groups: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Return which rows a subset has, (n,) bool; a larger share contains each smaller one, and labels keep theirs.

    Args:
        labels: (n,) class ids or scores.
        share: fraction of the rows, above 0 and at most 1, in steps of a hundredth.
        groups: (n,) of duplicates, which stay together.
        seed: random seed of the order.

    Raises:
        UserError: the share is out of range, or leaves no rows.
    """
    check(0 < share <= 1, f"--sizes {share:g}: a share above 0 and at most 1 is expected")
    parts = min(100, len(labels) if groups is None else len(np.unique(groups)))
    order = np.random.default_rng(seed).permutation(parts)  # folds with one more row of some label are the first ones
    found = order[folds.stratified(labels, parts, groups, seed)] < round(share * parts)
    check(found.any(), f"--sizes {share:g}: no rows are left of {len(labels)}")
    return found


def fit(sizes: np.ndarray, bits: np.ndarray) -> dict | None:
    """Fit V = a + b n^-c, and return ``limit`` (a), ``b``, ``c``, ``rows_for_95`` and ``rmse``; None where it fails.

    ``rows_for_95`` is the size at which V reaches 95 % of its limit; None where the limit is not above 0.

    Args:
        sizes: (M,) training rows, at least four different ones.
        bits: (M,).
    """
    sizes, bits = np.asarray(sizes, float), np.asarray(bits, float)
    if len(sizes) < 4:
        return None
    scale = np.exp(np.log(sizes).mean())  # keeps b in the range of the bits

    def curve(n: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        return a + b * (n / scale) ** -c

    start = (bits[-1], bits[0] - bits[-1] or -0.01, 0.5)
    try:
        (a, b, c), _ = curve_fit(curve, sizes, bits, start, bounds=([-np.inf, -np.inf, 0.05], [np.inf, np.inf, 4]),
                                 maxfev=20000)  # fmt: skip
    except RuntimeError:
        return None
    rmse = float(np.sqrt(np.mean((curve(sizes, a, b, c) - bits) ** 2)))
    rows = None
    if a > 0 and b < 0:
        rows = float(scale * (-b / (0.05 * a)) ** (1 / c))
    return {"limit": float(a), "b": float(b * scale**c), "c": float(c), "rows_for_95": rows, "rmse": rmse}
