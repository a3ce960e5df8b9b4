"""Results of the runs of a grid: aggregated over seeds, as Markdown, CSV and heat maps."""

import csv as csv_format
import io
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from plugins import tables
from plugins.analysis.metrics.means import standard_error
from plugins.analysis.runs import curves as runs
from plugins.analysis.runs.grids import COLUMNS, DEFAULT_COLUMNS, GridRun
from plugins.analysis.runs.logs import LoggedRecord

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def numbers(records: list[LoggedRecord], parameters: int | None, trained: int | None = None) -> dict[str, float]:
    """Return a run's results, keyed by :data:`COLUMNS`; NaN for numbers that its log does not contain.

    Losses are validation losses per token; fairseq's ``loss`` is in bits.
    """
    summary = runs.summarize(records)
    bits, nats, perplexity = (runs.curve(records, name)[1] for name in ("loss", "nats", "ppl"))
    nats = nats if len(nats) else bits * math.log(2)
    best, last = (float(pick(nats)) if len(nats) else math.nan for pick in (min, _last))
    return {
        "nats": best,
        "bits": best / math.log(2),
        "last_nats": last,
        "last_bits": last / math.log(2),
        "perplexity": summary.perplexity,
        "last_perplexity": float(perplexity[-1]) if len(perplexity) else math.nan,
        "parameters": math.nan if parameters is None else parameters,
        "trained": math.nan if trained is None else trained,
        "updates": summary.updates,
        "seconds": summary.seconds,
        "tokens_per_second": summary.tokens_per_second,
        **{kind: _at_lowest(nats, runs.curve(records, kind)[1]) for kind in ROUGE},
    }


def _at_lowest(losses, values) -> float:
    return float(values[losses.argmin()]) if len(values) and len(values) == len(losses) else math.nan


def _last(values):
    return values[-1]


def aggregate(results: Iterable[tuple[GridRun, dict]]) -> list[dict]:
    """Return an entry for each cell, in the order of their first runs.

    Each has ``cell`` {axis: level}, ``title``, ``seeds``, and for each number ``values`` (one per seed),
    ``mean``, ``standard_error`` and ``standard_deviation`` over the seeds (NaN for one seed).
    """
    cells: dict[str, list[tuple[GridRun, dict]]] = {}
    for run, result in results:
        cells.setdefault(run.title, []).append((run, result))
    entries = []
    for title, members in cells.items():
        entry = {"cell": dict(members[0][0].cell), "title": title, "seeds": [run.seed for run, _ in members]}
        for name in COLUMNS:
            entry[name] = over_seeds([result[name] for _, result in members])
        entries.append(entry)
    return entries


def over_seeds(values: Sequence[float]) -> dict:
    """Return values with their mean, standard deviation (n - 1) and standard error of the mean."""
    error = standard_error(values)
    return {
        "values": list(values),
        "mean": float(np.mean(values)),
        "standard_error": error,
        "standard_deviation": error * math.sqrt(len(values)),
    }


def markdown(entries: Sequence[Mapping], axes: Sequence[str], columns: Sequence[str] = DEFAULT_COLUMNS) -> str:
    """Return a Markdown table of aggregated cells: mean ± standard error over seeds, – if a log lacks the number.

    The speed, for example, of a run that ends before its second ``--log-interval``.
    """
    head = [*axes, *(COLUMNS[name][0] for name in columns)]
    rows = []
    for entry in entries:
        levels = [entry["cell"].get(axis, "") for axis in axes]
        rows.append([*levels, *(_shown(entry[name], COLUMNS[name][1]) for name in columns)])
    return tables.markdown(head, rows) + "\n"


def _shown(number: Mapping, decimals: int) -> str:
    if math.isnan(number["mean"]):
        return "–"
    mean = f"{number['mean']:,.{decimals}f}"
    same = len(set(number["values"])) == 1  # the number of parameters does not vary
    if math.isnan(number["standard_error"]) or (same and not decimals):
        return mean
    return f"{mean} ± {number['standard_error']:,.{decimals}f}"


def csv(results: Iterable[tuple[GridRun, Mapping]], axes: Sequence[str]) -> str:
    """Return the runs as CSV with a header: the levels of the axes, the seed and all numbers."""
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow([*axes, "seed", *COLUMNS])
    for run, result in results:
        levels = dict(run.cell)
        writer.writerow([*(levels.get(axis, "") for axis in axes), run.seed, *(result[name] for name in COLUMNS)])
    return text.getvalue()


def matrices(
    entries: Sequence[Mapping], axes: Sequence[str]
) -> tuple[dict[str, tuple[np.ndarray, list[str], list[str]]], tuple[str, ...]]:
    """Return heat maps of the mean nats, if exactly two axes have several numeric levels.

    Returns:
        {title: (values (R, C), row labels, column labels)}, one for each combination of the other axes' levels, and
        the names of the two axes; both are empty if there are no such axes.
    """
    levels = {axis: list(dict.fromkeys(e["cell"][axis] for e in entries if axis in e["cell"])) for axis in axes}
    numeric = [axis for axis in axes if len(levels[axis]) > 1 and all(map(_is_number, levels[axis]))]
    if len(numeric) != 2:
        return {}, ()
    first, second = ({level: i for i, level in enumerate(sorted(levels[axis], key=float))} for axis in numeric)
    made: dict[str, np.ndarray] = {}
    for entry in entries:
        cell = entry["cell"]
        if not all(axis in cell for axis in numeric):  # an additional cell
            continue
        others = " ".join(f"{axis}={cell[axis]}" for axis in axes if axis in cell and axis not in numeric)
        values = made.setdefault(others, np.full((len(first), len(second)), np.nan))
        values[first[cell[numeric[0]]], second[cell[numeric[1]]]] = entry["nats"]["mean"]
    return {title: (values, list(first), list(second)) for title, values in made.items()}, tuple(numeric)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
