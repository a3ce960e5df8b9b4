"""Reverse a share of comparisons, chosen at random or by the difference between the two texts."""

import numpy as np

from plugins.errors import UserError

WHICH = ("random", "largest", "smallest")


def reversed_pairs(gaps: np.ndarray, share: float, which: str = "random", seed: int = 1) -> np.ndarray:
    """Return a mask (P,) of the comparisons to reverse.

    Args:
        gaps: (P,) how much better the better text of each is: a difference of ratings, or of a model's scores.
        share: of the comparisons.
        which: one of :data:`WHICH`; equal gaps are ordered at random.

    Raises:
        UserError: no share, or an unknown choice.
    """
    if not 0 <= share <= 1:
        raise UserError(f"--share {share} is not between 0 and 1")
    if which not in WHICH:
        raise UserError(f"--which {which}: there are {', '.join(WHICH)}")
    draw, count = np.random.default_rng(seed), round(share * len(gaps))
    order = draw.permutation(len(gaps))
    if which != "random":
        signed = np.asarray(gaps, float)[order] * (-1 if which == "largest" else 1)
        order = order[np.argsort(signed, kind="stable")]
    mask = np.zeros(len(gaps), bool)
    mask[order[:count]] = True
    return mask
