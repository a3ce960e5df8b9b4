"""Pool the results of several runs of one model, such as seeds."""

from collections.abc import Sequence

from plugins.analysis.metrics.means import mean_and_error

LOSSES = ("windows", "sliding", "cache")


def pool(runs: Sequence[Sequence[dict]]) -> list[dict]:
    """Return the mean of the results of runs, with standard errors over the runs instead of over windows.

    Args:
        runs: of each run, the results of :func:`.losses.evaluate`, at the same lengths. A single run is returned as is.

    Returns:
        Rows as those of a run, with ``runs``, their number, where losses were measured. What depends on the place in
        the window (``by_position``, ``by_distance``) is left out.
    """
    if len(runs) == 1:
        return list(runs[0])
    return [pool_length(rows) for rows in zip(*runs, strict=True)]


def pool_length(rows: Sequence[dict]) -> dict:
    """Return the mean of the rows of runs at one length."""
    about = {name: rows[0][name] for name in ("length", "times")}
    ended = next((row for row in rows if "limit" in row), None)
    if ended is not None:
        return about | {"limit": ended["limit"]}
    losses = {
        kind: mean_and_error([row[kind]["mean"] for row in rows]) for kind in LOSSES if all(kind in row for row in rows)
    }
    speed = mean_and_error([row["tokens_per_second"] for row in rows])["mean"]
    return about | losses | {
        "tokens_per_second": speed, "peak_mb": max(row["peak_mb"] for row in rows), "runs": len(rows)
    }  # fmt: skip
