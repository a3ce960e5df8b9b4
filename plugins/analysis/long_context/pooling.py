"""Pool the results of several runs of one model, for example with different seeds."""

from collections.abc import Sequence

import numpy as np

from plugins.analysis.metrics.means import mean_and_error

from .losses import summary

LOSSES = ("windows", "sliding", "cache")
BINS = ("by_position", "by_distance")


def pool(runs: Sequence[Sequence[dict]]) -> list[dict]:
    """Return the mean of the results of runs, with intervals over runs and passages.

    Args:
        runs: for each run, the results of :func:`.losses.evaluate` for the same text and lengths.

    Returns:
        One dict per length: ``length``, ``times``, and ``limit`` if the length exceeds the position table; otherwise
        the losses, ``change`` (sliding loss minus the sliding loss at ``from``, the length closest to the training
        length), ``tokens_per_second``, ``peak_mb`` and ``runs`` (number of runs). The losses by position in the
        window (``by_position``, ``by_distance``) are included only for a single run.
    """
    found = [pool_length(rows) for rows in zip(*runs, strict=True)]
    known = [(row, rows) for row, rows in zip(found, zip(*runs, strict=True), strict=True) if "limit" not in row]
    if known:
        base, base_rows = min(known, key=lambda pair: abs(pair[0]["times"] - 1))
        for row, rows in known:
            change = losses_of(rows, "sliding") - losses_of(base_rows, "sliding")
            row["change"] = {"from": base["times"], **summary(change, keep=False)}
    return found


def pool_length(rows: Sequence[dict]) -> dict:
    """Return the mean of the results of several runs at one length."""
    about = {name: rows[0][name] for name in ("length", "times")}
    ended = next((row for row in rows if "limit" in row), None)
    if ended is not None:
        return about | {"limit": ended["limit"]}
    losses = {kind: summary(losses_of(rows, kind), keep=False) for kind in LOSSES if all(kind in row for row in rows)}
    bins = {name: rows[0][name] for name in BINS if len(rows) == 1 and name in rows[0]}
    speed = mean_and_error([row["tokens_per_second"] for row in rows])["mean"]
    return about | losses | bins | {
        "tokens_per_second": speed, "peak_mb": max(row["peak_mb"] for row in rows), "runs": len(rows)
    }  # fmt: skip


def losses_of(rows: Sequence[dict], kind: str) -> np.ndarray:
    """Return the losses of the passages in each run, (R, W)."""
    return np.array([row[kind]["losses"] for row in rows], dtype=float)
