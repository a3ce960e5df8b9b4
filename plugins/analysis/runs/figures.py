"""The figures of ``scripts/plot_runs.py``, with the numbers behind them."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from plugins.analysis.plots import Band
from plugins.analysis.runs import bars, groups, logs, plots
from plugins.analysis.runs.groups import Configuration
from plugins.analysis.runs.logs import TRAIN, VALID
from plugins.errors import UserError

METRICS = {  # name in the log: (title of the axis, quantity that falls, decimals); others keep their name in the log
    "loss": ("loss, as logged (bits)", "loss (bits)", 2),
    "nats": ("loss (nats per token)", "loss (nats)", 2),
    "bpc": ("loss (bits per character)", "loss (bits per character)", 2),
    "ppl": ("perplexity", "perplexity", 1),
}
HEADINGS = {TRAIN: "training", VALID: "validation"}


def read_runs(paths: Sequence[Path]) -> tuple[list[Configuration], dict[str, str]]:
    """Return the configurations of runs, and {path: reason} for skipped ones, which are also reported on stderr.

    Raises:
        UserError: no run has any losses.
    """
    found, skipped = [], {}
    for path in tqdm(paths, desc="reading", unit="run", leave=False, disable=None):
        try:
            found.append(logs.read_run(path))
        except UserError as error:
            skipped[str(path)] = str(error)
            print(f"skipped: {error}", file=sys.stderr)
    if paths and not found:
        raise UserError(f"none of {len(paths)} runs has any losses: " + ", ".join(map(str, paths)))
    return groups.group(found), skipped


def loss_curves(path: Path, configurations: Sequence[Configuration], metric: str, title: str | None) -> list[dict]:
    """Draw a metric in training and validation, the mean over the seeds of each configuration.

    Args:
        path: output file.
        configurations: at least one.
        metric: its name in the log.
        title: title of the figure; None for its conclusion.

    Returns:
        For each configuration ``name``, ``runs`` and the mean curves, for JSON.

    Raises:
        UserError: no run has the metric.
    """
    panels: dict[str, dict[str, Band]] = {TRAIN: {}, VALID: {}}
    entries = []
    for configuration in configurations:
        averaged = configuration.curves(metric)
        for stage, curve in averaged.items():
            panels[stage][configuration.name] = curve
        runs = []
        for run in configuration.runs:
            each = {stage: _as_lists(*groups.curve_of(run, metric, stage)) for stage in panels}
            runs.append({"path": str(run.path), "seed": groups.seed_of(run), "read_from": run.source} | each)
        _warn_of_short(configuration.name, runs, averaged, metric)
        means = {stage: _as_lists(*curve) for stage, curve in averaged.items()}
        entries.append({"name": configuration.name, "runs": runs} | means)
    if not any(panels.values()):
        raise UserError(_why_nothing(configurations, metric))
    axis, what, decimals = METRICS.get(metric, (metric, metric, 3))
    shown = {HEADINGS[stage]: curves for stage, curves in panels.items() if curves}
    heading, curves = list(shown.items())[-1]
    falls = metric in METRICS  # others may be better when they rise
    title = title or (plots.conclusion(curves, f"{heading} {what}", decimals) if falls else f"{metric} of each run")
    plots.band_panels(path, shown, title, axis, _note(configurations), decimals)
    return entries


def _note(configurations: Sequence[Configuration]) -> str:
    counts = {len(configuration.runs) for configuration in configurations}
    if counts == {1}:
        return "one run each; the number is the last value"
    seeds = f"{min(counts)} seeds" if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
    return f"mean over {seeds}, band: one standard error; the number is the last mean"


def _why_nothing(configurations: Sequence[Configuration], metric: str) -> str:
    there = sorted({name for c in configurations for run in c.runs for r in run.records for name in r.values})
    if metric in there:
        return f"--metric {metric}: no two seeds have it at the same update; draw only one of them"
    return f"--metric {metric}: no such number in any run; there are {', '.join(there)}"


def _as_lists(updates: np.ndarray, values: np.ndarray, errors: np.ndarray | None = None) -> dict:
    numbers = {"updates": updates.tolist(), "values": values.tolist()}
    return numbers if errors is None else numbers | {"standard_errors": errors.tolist()}


def _warn_of_short(name: str, runs: Sequence[Mapping], averaged: Mapping, metric: str) -> None:
    """Report the run that limits the mean over seeds, or why there is no mean."""
    for stage in (TRAIN, VALID):
        ends = {run["path"]: max(run[stage]["updates"], default=0) for run in runs}
        shortest = min(ends, key=ends.__getitem__)
        if stage not in averaged and max(ends.values()):
            print(f"{name}: its runs have {metric} ({stage}) at no common update: not drawn", file=sys.stderr)
        elif ends[shortest] < max(ends.values()):
            print(f"{name}: {stage} ends at update {ends[shortest]}, where {shortest} does", file=sys.stderr)


def consistency(path: Path, files: Sequence[Path], configurations: Sequence[Configuration], judge: str) -> dict:
    """Draw how often generated text is nearest to the requested style.

    Args:
        path: output file.
        files: files of ``scripts/evaluate_style.py``.
        configurations: configurations of the evaluated checkpoints, for their names.
        judge: whose verdict is drawn.

    Returns:
        The numbers of the figure, for JSON.

    Raises:
        UserError: two files of the same checkpoint, or none with the judge.
    """
    called = {run.path.absolute(): c.name for c in configurations for run in c.runs}
    evaluations: dict[str, list[dict]] = {}
    seen: dict[Path, Path] = {}
    for file in files:
        found = bars.read_evaluation(file)
        checkpoint = Path(found["checkpoint"]).absolute()
        folder = checkpoint.parent if checkpoint.suffix == ".pt" else checkpoint
        if checkpoint in seen:
            raise UserError(f"{file}: of the same checkpoint as {seen[checkpoint]}; give one of them")
        seen[checkpoint] = file
        evaluations.setdefault(called.get(folder) or groups.name_of(checkpoint), []).append(found)
    series = bars.consistency(evaluations, judge)
    if not series:
        raise UserError(f"no judge {judge} in {', '.join(map(str, files))}: the models were not judged")
    chances = {e["chance"] for of_one in evaluations.values() for e in of_one}
    windows = sorted({e["options"]["window"] for of_one in evaluations.values() for e in of_one})
    line = (chances.pop(), "chance") if len(chances) == 1 else None
    note = f"judge: {judge}, windows of {', '.join(map(str, windows))} characters; bars: one standard error"
    title = "Which model writes in the requested style?"
    plots.bars(path, list(evaluations), series, title, bars.CONSISTENCY, note, line)
    return {"judge": judge, "configurations": list(evaluations)} | _as_series(series)


def speed(path: Path, file: Path) -> dict:
    """Draw the speeds of a benchmark and return the numbers of the figure, for JSON.

    Raises:
        UserError: the file has no speeds.
    """
    contestants, unit, numbers = bars.read_speeds(file)
    title, note = "Inference speed", "median, with the range of the repeats"
    plots.bars(path, contestants, {unit: numbers}, title, unit, note)
    return {"contestants": contestants} | _as_series({unit: numbers})


def _as_series(series: Mapping) -> dict:
    return {"series": {name: {"values": values.tolist(), "errors": np.asarray(errors).tolist()}
                       for name, (values, errors) in series.items()}}  # fmt: skip


def summary(entries: Sequence[Mapping], metric: str) -> list[str]:
    """Return a line with the last values of each configuration."""
    lines = []
    for entry in entries:
        last = {stage: entry[stage]["values"][-1] for stage in (TRAIN, VALID) if stage in entry}
        shown = ", ".join(f"{stage} {value:.4f}" for stage, value in last.items() if not math.isnan(value))
        runs = "1 run" if len(entry["runs"]) == 1 else f"{len(entry['runs'])} runs"
        lines.append(f"{entry['name']}: {runs}, last {metric}: {shown}")
    return lines
