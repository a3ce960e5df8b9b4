"""Reverse a share of comparisons, chosen at random or by the difference between the two texts."""

import json
from pathlib import Path

import numpy as np

from plugins.data.preference import rows
from plugins.errors import UserError
from plugins.files import write_text

WHICH = ("random", "largest", "smallest")


def reversed_pairs(gaps: np.ndarray, share: float, which: str = "random", seed: int = 1) -> np.ndarray:
    """Return a mask (P,) of the comparisons to reverse.

    Args:
        gaps: (P,) how much better the better text of each is: a difference of ratings, or of a model's scores.
        share: fraction of the comparisons.
        which: one of :data:`WHICH`; equal gaps are ordered at random.

    Raises:
        UserError: no share, or an unknown choice.
    """
    if not 0 <= share <= 1:
        raise UserError(f"--share {share} is not between 0 and 1")
    if which not in WHICH:
        raise UserError(f"--which {which}: choose one of {', '.join(WHICH)}")
    draw, count = np.random.default_rng(seed), round(share * len(gaps))
    order = draw.permutation(len(gaps))
    if which != "random":
        signed = np.asarray(gaps, float)[order] * (-1 if which == "largest" else 1)
        order = order[np.argsort(signed, kind="stable")]
    mask = np.zeros(len(gaps), bool)
    mask[order[:count]] = True
    return mask


def comparisons(
    path: str | Path, min_gap: float = 0.5, per_text: int = 4, seed: int = 1
) -> tuple[rows.Preferences, np.ndarray, np.ndarray]:
    """Read comparisons, or make them of ratings.

    Args:
        path: file with the columns of ``--task preference``.
        min_gap, per_text, seed: of :func:`plugins.data.preference.rows.compare`.

    Returns:
        What was read, its pairs (P, 2) with the better text first, and their gaps (P,): differences of ratings, or
        margins.

    Raises:
        UserError: the file is bad, or has ties, which cannot be reversed.
    """
    found = rows.read(path)
    if found.rated:
        found = rows.compare(found, min_gap, per_text, seed)
    if (found.outcomes == rows.OUTCOMES["tie"]).any():
        raise UserError(f"{path}: ties cannot be reversed; leave them out")
    pairs = np.where((found.outcomes == 1)[:, None], found.pairs[:, ::-1], found.pairs)
    gaps = found.margins if found.scores is None else found.scores[pairs[:, 0]] - found.scores[pairs[:, 1]]
    return found, pairs, gaps


def write(path: str | Path, found: rows.Preferences, pairs: np.ndarray, flipped: np.ndarray) -> None:
    """Write comparisons as JSON lines with ``chosen``, ``rejected``, ``margin``, ``weight`` and ``flipped``.

    Args:
        pairs: (P, 2), the better text first.
        flipped: (P,), True for those to write reversed.
    """
    lines = []
    for (a, b), margin, weight, turned in zip(pairs, found.margins, found.weights, flipped, strict=True):
        chosen, rejected = (found.texts[i] for i in ((b, a) if turned else (a, b)))
        record = {"chosen": chosen, "rejected": rejected, "margin": float(margin), "weight": float(weight)}
        lines.append(json.dumps(record | {"flipped": int(turned)}, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")
