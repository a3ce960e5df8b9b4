"""Gains of transfer between tasks: tables, and the ranking quality of methods that need no training."""

from collections.abc import Mapping, Sequence

import numpy as np

from plugins.analysis.metrics.means import mean_and_deviation, standard_error
from plugins.analysis.transfer import judging
from plugins.tables import markdown

DIRECT = "direct"  # source name of runs without an intermediate task
TRIED = (1, 2, 3)  # values of k in Regret@k


def with_gains(rows: Sequence[Mapping]) -> list[dict]:
    """Add ``gain`` to rows: the score minus the score of the direct run with the same target, size and seed.

    The gain is NaN if either run predicts a single class: any source would appear useful relative to a collapsed run.
    """
    direct = {(row["target"], row["size"], row["seed"]): row for row in rows if row["source"] == DIRECT}
    found = []
    for row in rows:
        base = direct[row["target"], row["size"], row["seed"]]
        usable = not (row["collapsed"] or base["collapsed"])
        found.append(dict(row) | {"gain": row["score"] - base["score"] if usable else float("nan")})
    return found


def groups(rows: Sequence[Mapping]) -> dict[tuple[str, str], list[Mapping]]:
    """Return the rows of each target and size."""
    found: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        found.setdefault((row["target"], row["size"]), []).append(row)
    return found


def summary(rows: Sequence[Mapping]) -> str:
    """Return mean gains with standard deviations over seeds as a Markdown table, one row per target and size.

    A star marks gains whose 95 % interval of Student's t over the seeds excludes 0.
    """
    sources = [name for name in dict.fromkeys(row["source"] for row in rows) if name != DIRECT]
    lines = []
    for (target, size), mine in groups(rows).items():
        cells = [mean_and_deviation([row["score"] for row in mine if row["source"] == DIRECT], "{:.3f}")]
        for source in sources:
            gains = np.array([row["gain"] for row in mine if row["source"] == source])
            star = "*" if excludes_zero(gains) else ""
            cells.append("" if not len(gains) else "collapsed" if np.isnan(gains).any() else
                         mean_and_deviation(gains, "{:+.3f}") + star)  # fmt: skip
        lines.append([target, size, *cells])
    return markdown(["target", "rows", "direct", *sources], lines)


def excludes_zero(gains: np.ndarray, level: float = 0.95) -> bool:
    """Return whether the Student's t interval of the mean of gains (S,) excludes 0; False for one seed."""
    from scipy.stats import t

    if len(gains) < 2 or np.isnan(gains).any():
        return False
    half = t.ppf((1 + level) / 2, len(gains) - 1) * standard_error(gains)
    return bool(abs(gains.mean()) > half)


def mean_gains(rows: Sequence[Mapping], size: str, tasks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean gains and their standard errors over seeds, (T, T) each, one row per target; NaN if missing."""
    means, errors = np.full((2, len(tasks), len(tasks)), np.nan)
    for i, target in enumerate(tasks):
        for j, source in enumerate(tasks):
            wanted = (source, target, size)
            gains = [row["gain"] for row in rows if (row["source"], row["target"], row["size"]) == wanted]
            if gains:
                means[i, j], errors[i, j] = np.mean(gains), standard_error(gains)
    return means, errors


def judge(similar: Sequence[Mapping], rows: Sequence[Mapping], sizes: Mapping[str, int]) -> list[dict]:
    """Evaluate how well each method and two baselines rank the sources of each target.

    Args:
        similar: rows of ``similarity.csv``.
        rows: rows of ``transfer.csv``.
        sizes: {task: number of training rows}, for the baseline that ranks by size.
    """
    found = []
    for (target, size), mine in groups(rows).items():
        sources = [name for name in dict.fromkeys(row["source"] for row in mine) if name != DIRECT]
        actual = {s: float(np.mean([row["score"] for row in mine if row["source"] == s])) for s in sources}
        if len(actual) < 2:
            continue
        predictions: dict[str, dict[str, float]] = {}
        for row in similar:
            if row["target"] == target:
                predictions.setdefault(row["method"], {})[row["source"]] = row["score"]
        predictions["largest source"] = {name: sizes[name] for name in actual}
        where = {"target": target, "size": size}
        for method, predicted in predictions.items():
            regrets = {f"regret_at_{k}": judging.regret(predicted, actual, k) for k in TRIED}
            found.append(where | {"method": method} | regrets | {
                "rank_of_best": judging.rank_of_best(predicted, actual), "ndcg": judging.ndcg(predicted, actual),
            })  # fmt: skip
        chance = {f"regret_at_{k}": judging.chance_regret(actual, min(k, len(actual))) for k in TRIED}
        found.append(where | {"method": "random"} | chance | {
            "rank_of_best": (len(actual) + 1) / 2, "ndcg": float("nan"),
        })  # fmt: skip
    return found


def judgment(judged: Sequence[Mapping]) -> str:
    """Return the mean of each column of ``judgment.csv`` over targets and sizes as a Markdown table."""
    names = [*(f"regret_at_{k}" for k in TRIED), "rank_of_best", "ndcg"]
    lines = []
    for method in dict.fromkeys(row["method"] for row in judged):
        values = [np.array([row[name] for row in judged if row["method"] == method], float) for name in names]
        known = [column[~np.isnan(column)] for column in values]
        lines.append([method, *(f"{column.mean():.3f}" if len(column) else "" for column in known)])
    return markdown(["method", *names], lines)
