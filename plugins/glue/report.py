"""Tables of fine-tuning runs: the published table's columns, the official metrics, one line per run."""

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins import checkpoints
from plugins.data.glue.specs import MISMATCHED, VALID, GlueSpec

from .plan import FineTuning

# Column of the published table: (task, metric). CoLA's is accuracy, STS-B's a loss; see examples/glue/README.md.
PAPER = {
    "CoLA": "accuracy", "MNLI": "accuracy", "MRPC": "accuracy", "QNLI": "accuracy", "QQP": "accuracy",
    "RTE": "accuracy", "SST-2": "accuracy", "STS-B": "published_loss",
}  # fmt: skip
NONE = "–"
PERCENT, LOSS = (1, 100), (3, 1)  # (decimals, factor) of a number in a table
Table = list[list[str]]  # rows of text, the header first


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ only in their seed.

    Attributes:
        spec: the task.
        runs: the runs.
        results: the result of each, see :func:`plugins.glue.runs.evaluate`.
    """

    spec: GlueSpec
    runs: list[FineTuning]
    results: list[dict]

    @property
    def score(self) -> float:
        """Median over the seeds of the metric that chooses the best epoch."""
        return statistics.median(r["score"] for r in self.results)

    @property
    def failed(self) -> int:
        """Number of runs that predict a single class."""
        return sum(r["collapsed"] for r in self.results)

    def values(self, metric: str, split: str = VALID) -> list[float]:
        """Return a metric of each run."""
        return [r["valid"][split][metric] for r in self.results if metric in r["valid"][split]]

    def baseline(self, metric: str, split: str = VALID) -> float | None:
        """Return a metric of predicting the majority class."""
        return self.results[0]["baseline"][split].get(metric)

    @property
    def best(self) -> tuple[FineTuning, dict]:
        """The run with the best score, and its result."""
        return max(zip(self.runs, self.results, strict=True), key=lambda pair: pair[1]["score"])


def cells(results: Mapping[FineTuning, dict], specs: Mapping[str, GlueSpec]) -> dict[str, list[SeedGroup]]:
    """Return {task: its cells}, the one with the best median score first.

    Args:
        results: {run: result}.
        specs: {task: spec}.
    """
    grouped = defaultdict(list)
    for run, result in results.items():
        grouped[run.cell].append((run, result))
    by_task = defaultdict(list)
    for (task, *_), pairs in grouped.items():
        by_task[task].append(SeedGroup(specs[task], [run for run, _ in pairs], [result for _, result in pairs]))
    return {task: sorted(found, key=lambda cell: -cell.score) for task, found in by_task.items()}


def paper_table(by_task: Mapping[str, Sequence[SeedGroup]], perplexity: float | None) -> Table:
    """Return the published table's columns.

    Args:
        by_task: returned by :func:`cells`.
        perplexity: perplexity of the pretrained model.
    """
    header = ["", "PPL ↓", *(f"{task} ↓" if metric.endswith("loss") else task for task, metric in PAPER.items())]
    rows = {"median": [number(perplexity, 1)], "range": [NONE], "majority": [NONE], "failed runs": [NONE]}
    for task, metric in PAPER.items():
        if task not in by_task:
            for row in rows.values():
                row.append(NONE)
            continue
        cell, digits = by_task[task][0], PERCENT if metric == "accuracy" else LOSS
        rows["median"].append(shown(statistics.median(cell.values(metric)), digits))
        rows["range"].append(value_range(cell.values(metric), digits))
        rows["majority"].append(shown(cell.baseline(metric), digits))
        rows["failed runs"].append(f"{cell.failed}/{len(cell.runs)}")
    return [header, *([name, *row] for name, row in rows.items())]


def official_table(by_task: Mapping[str, Sequence[SeedGroup]]) -> Table:
    """Return the official metrics of each task's best cell, in percent except for losses."""
    rows = [["task", "metric", "median", "range", "majority", "failed runs", "lr", "batch", "seeds"]]
    for found in by_task.values():
        cell = found[0]
        run, regression = cell.runs[0], ("mse", "published_loss") if cell.spec.is_regression else ()
        for split in cell.spec.valid_splits:
            for metric in (*cell.spec.metrics, *regression):
                digits, values = LOSS if metric in regression else PERCENT, cell.values(metric, split)
                rows.append([
                    cell.spec.name + (" mismatched" if split.endswith(MISMATCHED) else ""), metric,
                    shown(statistics.median(values), digits), value_range(values, digits),
                    shown(cell.baseline(metric, split), digits), f"{cell.failed}/{len(cell.runs)}",
                    f"{run.lr:g}", str(run.batch_size), " ".join(str(r.seed) for r in cell.runs),
                ])  # fmt: skip
    return rows


def shown(value: float | None, digits: tuple[int, int]) -> str:
    """Return a number for a table; see :data:`PERCENT`."""
    places, factor = digits
    return number(None if value is None else value * factor, places)


def number(value: float | None, places: int) -> str:
    """Return a number with so many decimals, or a dash if there is none."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def value_range(values: Sequence[float], digits: tuple[int, int]) -> str:
    """Return the lowest and the highest of several values, or a dash for one."""
    return f"{shown(min(values), digits)}-{shown(max(values), digits)}" if len(values) > 1 else NONE


def as_csv(results: Mapping[FineTuning, dict], specs: Mapping[str, GlueSpec]) -> str:
    """Return a line for each run and validation split, comma-separated, after a header."""
    names = sorted({m for spec in specs.values() for m in spec.metrics} | {"mse", "published_loss"})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "split", "lr", "batch_size", "seed", "intermediate", "collapsed", "loss", *names,
                     *(f"majority_{name}" for name in names)])  # fmt: skip
    for run, result in results.items():
        for split, values in result["valid"].items():
            base = result["baseline"][split]
            writer.writerow([run.task, split, run.lr, run.batch_size, run.seed, run.intermediate or "",
                             int(result["collapsed"]), values["loss"], *(values.get(name, "") for name in names),
                             *(base.get(name, "") for name in names)])  # fmt: skip
    return text.getvalue()


def warnings(by_task: Mapping[str, Sequence[SeedGroup]]) -> list[str]:
    """Return a sentence for each cell with runs that predict a single class."""
    return [
        f"{cell.spec.name}, lr {cell.runs[0].lr:g}, batch {cell.runs[0].batch_size}: {cell.failed} of {len(cell.runs)} "
        "runs ended at one class (see examples/glue/README.md)"
        for found in by_task.values()
        for cell in found
        if cell.failed
    ]


def pretraining_perplexity(checkpoint: str | Path) -> float | None:
    """Return the validation perplexity that a masked LM's checkpoint was chosen by, or None if it is not stored."""
    state = checkpoints.read_state(str(checkpoint))
    options, extra = state.get("cfg") or {}, state.get("extra_state") or {}
    task: Any = (options.get("task") or {}).get("_name")
    metric = (options.get("checkpoint") or {}).get("best_checkpoint_metric")
    bits = extra.get("val_loss") or extra.get("best")
    return 2**bits if bits and metric == "loss" and task in ("masked_lm", "clap_masked_lm") else None
