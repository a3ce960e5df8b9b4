"""Learning curves: nested subsets of the rows, and a power law fitted to their usable information."""

import numpy as np
from scipy.optimize import curve_fit

from plugins.errors import check

from . import folds

REACH = 100  # times the largest size


def nested(labels: np.ndarray, share: float, groups: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Return a subset of the rows, (n,) bool, stratified if there are more than 100 groups.

    Larger subsets contain the smaller ones.

    Args:
        labels: (n,) class ids or scores.
        share: fraction of the rows, above 0 and at most 1, in steps of a hundredth.
        groups: (n,) group numbers of duplicates; a group is kept or dropped as a whole.
        seed: random seed of the order.

    Raises:
        UserError: the fraction is out of range, there are no rows, or the subset is empty.
    """
    source = f"--sizes {share:g}"
    check(0 < share <= 1, f"{source}: a fraction above 0 and at most 1 is expected")
    check(len(labels) > 0, f"{source}: there are no rows")
    part = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)[1]  # (n,)
    parts = min(100, part.max() + 1)
    if part.max() >= parts:  # several groups in each part
        part = folds.stratified(labels, parts, groups, seed, source=source)
    order = np.random.default_rng(seed).permutation(parts)  # folds with one more row of some label are the first ones
    found = order[part] < round(share * parts)
    check(found.any(), f"{source}: no rows are left of {len(labels)}")
    return found


def fit(sizes: np.ndarray, bits: np.ndarray, most: float | None = None) -> dict | None:
    """Fit V = a + b n^-c; return ``limit`` (a), ``b``, ``c``, ``rows_for_95`` and ``rmse``, or None if the fit fails.

    ``rows_for_95`` is the size at which V reaches 95 % of its limit; None if the limit is not positive, or if that
    size is an extrapolation to more than :data:`REACH` times the largest size.

    Args:
        sizes: (M,) numbers of training rows, at least four distinct ones.
        bits: (M,) usable information.
        most: upper bound of the limit: the label entropy H(Y); None: no bound.
    """
    sizes, bits = np.asarray(sizes, float), np.asarray(bits, float)
    if len(sizes) < 4:
        return None
    scale = np.exp(np.log(sizes).mean())  # keeps b in the range of the bits

    def curve(n: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        return a + b * (n / scale) ** -c

    most = np.inf if most is None else most
    start = (min(bits[-1], most), bits[0] - bits[-1] or -0.01, 0.5)
    try:
        (a, b, c), _ = curve_fit(curve, sizes, bits, start, bounds=([-np.inf, -np.inf, 0.05], [most, np.inf, 4]),
                                 maxfev=20000)  # fmt: skip
    except RuntimeError:
        return None
    rmse = float(np.sqrt(np.mean((curve(sizes, a, b, c) - bits) ** 2)))
    rows = None
    if a > 0 and b < 0:
        rows = float(scale * (-b / (0.05 * a)) ** (1 / c))
        rows = rows if rows <= REACH * sizes.max() else None
    return {"limit": float(a), "b": float(b * scale**c), "c": float(c), "rows_for_95": rows, "rmse": rmse}
