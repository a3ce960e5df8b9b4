"""Compare systems by the ROUGE of their summaries of the same documents: a table and a figure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins import tables
from plugins.analysis import plots
from plugins.analysis.metrics import rouge
from plugins.data.text.records import json_records
from plugins.errors import UserError


def read_scores(path: Path) -> dict[str, dict]:
    """Read {document id: ROUGE by kind} from a file written by ``scripts/summarize.py``.

    Raises:
        UserError: the file cannot be read, has no scores, or has two documents with the same id.
    """
    try:
        lines: list[Any] = [line for _, line in json_records(path)]  # a BadRow ends in a TypeError below
        scores = [(line["id"], {kind: float(line["rouge"][kind]) for kind in rouge.KINDS}) for line in lines]
        found = dict(scores)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a file of scripts/summarize.py for documents with summaries") from None
    if len(found) < len(scores):
        twice = Counter(name for name, _ in scores).most_common(1)[0][0]
        raise UserError(f"{path}: two documents have the id {twice!r}; summarize a file in which each id is unique")
    return found


def compare(scores: Mapping[str, Mapping[str, dict]], paths: Mapping[str, Path]) -> dict:
    """Return the mean of each system with its 95 % interval, and its difference from the first system.

    Args:
        scores: {name of a system: {id: ROUGE by kind}}.
        paths: the files, for errors.

    Returns:
        {name: {"documents": N, kind: {"mean", "interval", "difference", "difference_interval"}}}. Intervals are
        bootstraps over documents, paired for the differences.

    Raises:
        UserError: a file has no summaries, or its documents differ from the first file's.
    """
    first = next(iter(scores))
    ids = list(scores[first])
    if not ids:
        raise UserError(f"{paths[first]}: contains no summaries")
    results = {}
    for name, found in scores.items():
        if found.keys() != scores[first].keys():
            raise UserError(f"{paths[name]}: about other documents than {paths[first]}")
        own = [found[i] for i in ids]
        less = rouge.differences(own, [scores[first][i] for i in ids])
        numbers: list[dict[str, Any]] = [rouge.mean(own), rouge.intervals(own), rouge.mean(less), rouge.intervals(less)]
        names = ("mean", "interval", "difference", "difference_interval")
        rows = {kind: dict(zip(names, (part[kind] for part in numbers), strict=True)) for kind in rouge.KINDS}
        results[name] = {"documents": len(ids), **rows}
    return results


def markdown(results: Mapping) -> str:
    """Return the results as a Markdown table, in percent."""
    first = next(iter(results))
    head, lines = ["", *rouge.KINDS, f"rouge1 minus {first}"], []
    for name, row in results.items():
        cells = [shown(row[kind]["mean"], row[kind]["interval"]) for kind in rouge.KINDS]
        change = row["rouge1"]
        lines.append(
            [name, *cells, "" if name == first else shown(change["difference"], change["difference_interval"])]
        )
    about = f"{results[first]['documents']} documents; percent with 95 % intervals; {rouge.SETTINGS}.\n\n"
    return about + tables.markdown(head, lines) + "\n"


def shown(mean: float, interval: Sequence[float]) -> str:
    """Return a mean with its interval, in percent."""
    return f"{100 * mean:.1f} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def draw(results: Mapping, axis: str | None, path: Path) -> None:
    """Draw the means with their intervals, one row per name, or curves if the names are numbers.

    Args:
        results: returned by :func:`compare`.
        axis: quantity that the names are values of; None if they are not numbers.
        path: output file.
    """
    label = f"F-measure (%), {results[next(iter(results))]['documents']} documents"
    if axis is None:
        groups = {}
        for kind in rouge.KINDS:
            entries = {name: row[kind] for name, row in results.items()}
            groups[kind] = {
                name: tuple(100 * value for value in (entry["interval"][0], entry["mean"], entry["interval"][1]))
                for name, entry in entries.items()
            }
        plots.ranges(path, groups, conclusion(results), label)
        return
    names = sorted(results, key=float)
    curves = {}
    for kind in rouge.KINDS:
        entries = [results[name][kind] for name in names]
        half = [(entry["interval"][1] - entry["interval"][0]) / 2 for entry in entries]
        mean = [entry["mean"] for entry in entries]
        curves[kind] = (np.array(names, float), 100 * np.array(mean), 100 * np.array(half))
    plots.bands(path, curves, f"ROUGE against {axis}, with 95 % intervals", label, axis)


def conclusion(results: Mapping) -> str:
    """Return a title that names the system with the highest ROUGE-1, or the best two if they are tied."""
    order = sorted(results, key=lambda name: -results[name]["rouge1"]["mean"])
    best = results[order[0]]["rouge1"]
    title = f"{order[0]} has the highest ROUGE-1, {100 * best['mean']:.1f}"
    if len(order) > 1:
        second = results[order[1]]["rouge1"]
        if best["interval"][0] <= second["interval"][1]:
            title = f"{order[0]} and {order[1]}: the intervals of their ROUGE-1 overlap"
    return f"{title} (95 % intervals)"
