"""Pool the results of several runs of one model, for example with different seeds."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins.analysis.metrics.means import mean_and_error
from plugins.errors import UserError
from plugins.files import read_json

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


Runs = dict[str, list[list[dict]]]
"""For each model, the results of :func:`.losses.evaluate` of each of its runs."""


def read_runs(path: Path, settings: Mapping[str, Any]) -> Runs:
    """Read the runs in a ``long_context.json`` that was written with the same text and settings.

    Args:
        path: the file.
        settings: what its entries of the same names must be.

    Raises:
        UserError: the file cannot be read, was written with another text or other settings, or is not such a file.
    """
    content = read_json(path, dict)
    for name, value in settings.items():
        if content.get(name) != value:
            raise UserError(
                f"{path}: {name} is {str(content.get(name))[:80]} where {value} is needed, so its losses are not those "
                "of the same tokens"
            )
    runs = content.get("runs")
    if not isinstance(runs, dict) or not all(isinstance(run, list) and run for run in runs.values()):
        raise UserError(f"{path}: has no runs; a file written by scripts/long_context.py is needed")
    for name, rows in ((name, rows) for name, found in runs.items() for rows in found):
        if not isinstance(rows, list) or not all(map(_is_result, rows)):
            raise UserError(f"{path}: a run of {name[:80]} is damaged or written by another version")
    return runs


def _is_result(row: object) -> bool:
    """Check that a value is one of the dicts that :func:`.losses.evaluate` returns."""
    if not isinstance(row, dict) or not all(_is_number(row.get(name)) for name in ("length", "times")):
        return False
    if "limit" in row:
        return _is_number(row["limit"])
    losses = [row.get(kind) for kind in LOSSES if kind in row or kind != "cache"]
    return all(map(_is_loss, losses)) and all(_is_number(row.get(name)) for name in ("tokens_per_second", "peak_mb"))


def _is_loss(loss: object) -> bool:
    values = loss.get("losses") if isinstance(loss, dict) else None
    return isinstance(values, list) and bool(values) and all(value is None or _is_number(value) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
