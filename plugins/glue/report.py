"""What came out of many runs: the published table's columns, the official metrics, and Hugging Face's files."""

import csv
import io
import math
import os
import statistics
from collections import defaultdict
from dataclasses import dataclass

from plugins import checkpoints
from plugins.data.glue.specs import MISMATCHED, VALID

from .predict import BATCH

# Column of the published table: (task, what it shows). CoLA's is accuracy, STS-B's a loss; see examples/glue/README.md.
PAPER = {
    "CoLA": "accuracy", "MNLI": "accuracy", "MRPC": "accuracy", "QNLI": "accuracy", "QQP": "accuracy",
    "RTE": "accuracy", "SST-2": "accuracy", "STS-B": "published_loss",
}  # fmt: skip
NONE = "–"


@dataclass(frozen=True)
class Cell:
    """Runs that differ by their seed alone.

    Attributes:
        spec: the task.
        runs: their :class:`~plugins.glue.plan.FineTuning`.
        results: what each gave.
    """

    spec: object
    runs: list
    results: list

    @property
    def score(self):
        return statistics.median(r["score"] for r in self.results)

    @property
    def failed(self):
        return sum(r["collapsed"] for r in self.results)

    def values(self, metric, split=VALID):
        return [r["valid"][split][metric] for r in self.results if metric in r["valid"][split]]

    def baseline(self, metric, split=VALID):
        return self.results[0]["baseline"][split].get(metric)

    @property
    def best(self):
        """The run with the best score, and its result."""
        return max(zip(self.runs, self.results, strict=True), key=lambda pair: pair[1]["score"])


def cells(results, specs):
    """Return {task: its cells}, the one with the best median score first.

    Args:
        results: {run: result}.
    """
    grouped = defaultdict(list)
    for run, result in results.items():
        grouped[run.cell].append((run, result))
    by_task = defaultdict(list)
    for (task, *_), pairs in grouped.items():
        by_task[task].append(Cell(specs[task], [run for run, _ in pairs], [result for _, result in pairs]))
    return {task: sorted(found, key=lambda cell: -cell.score) for task, found in by_task.items()}


# Tables


def paper_table(by_task, perplexity):
    """Return the published table's columns as rows of text, a header first."""
    header = ["", "PPL ↓", *(f"{task} ↓" if metric.endswith("loss") else task for task, metric in PAPER.items())]
    rows = {"median": [number(perplexity, 1)], "range": [NONE], "majority": [NONE], "failed runs": [NONE]}
    for task, metric in PAPER.items():
        if task not in by_task:
            for row in rows.values():
                row.append(NONE)
            continue
        cell, digits = by_task[task][0], (1, 100) if metric == "accuracy" else (3, 1)
        rows["median"].append(shown(statistics.median(cell.values(metric)), digits))
        rows["range"].append(spread(cell.values(metric), digits))
        rows["majority"].append(shown(cell.baseline(metric), digits))
        rows["failed runs"].append(f"{cell.failed}/{len(cell.runs)}")
    return [header, *([name, *row] for name, row in rows.items())]


def official_table(by_task):
    """Return every task's official metrics as rows of text, a header first; percent, but for losses."""
    header = ["task", "metric", "median", "range", "majority", "failed runs", "lr", "batch", "seeds"]
    rows = []
    for found in by_task.values():
        cell = found[0]
        run, regression = cell.runs[0], ("mse", "published_loss") if cell.spec.is_regression else ()
        for split in cell.spec.valid_splits:
            for metric in (*cell.spec.metrics, *regression):
                digits = (3, 1) if metric in regression else (1, 100)
                values = cell.values(metric, split)
                rows.append([
                    cell.spec.name + (" mismatched" if split.endswith(MISMATCHED) else ""), metric,
                    shown(statistics.median(values), digits), spread(values, digits),
                    shown(cell.baseline(metric, split), digits), f"{cell.failed}/{len(cell.runs)}",
                    f"{run.lr:g}", str(run.batch_size), " ".join(str(r.seed) for r in cell.runs),
                ])  # fmt: skip
    return [header, *rows]


def shown(value, digits):
    places, factor = digits
    return number(None if value is None else value * factor, places)


def number(value, places):
    return NONE if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def spread(values, digits):
    return f"{shown(min(values), digits)}-{shown(max(values), digits)}" if len(values) > 1 else NONE


def aligned(table):
    """Return a table as text for a terminal."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in table)


def markdown(table):
    header, *rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows])


def as_csv(results, specs):
    """Return one line a run and validation split."""
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


def warnings(by_task):
    """Return a sentence for each cell with runs that ended at one class."""
    return [
        f"{cell.spec.name}, lr {cell.runs[0].lr:g}, batch {cell.runs[0].batch_size}: {cell.failed} of {len(cell.runs)} "
        "runs ended at one class, as if nothing had been learned (see examples/glue/README.md)"
        for found in by_task.values()
        for cell in found
        if cell.failed
    ]


def pretraining_perplexity(checkpoint):
    """Return the perplexity that a masked LM's checkpoint was chosen by, or None if it does not say."""
    state = checkpoints.read_state(str(checkpoint))
    options, extra = state.get("cfg") or {}, state.get("extra_state") or {}
    task = (options.get("task") or {}).get("_name")
    metric = (options.get("checkpoint") or {}).get("best_checkpoint_metric")
    bits = extra.get("val_loss") or extra.get("best")
    return 2**bits if bits and metric == "loss" and task in ("masked_lm", "clap_masked_lm") else None


# What Hugging Face users look for


def hugging_face_name(spec, split=VALID):
    return spec.name.lower().replace("-", "") + ("-mm" if split.endswith(MISMATCHED) else "")


def hugging_face_results(result):
    """Return the contents of ``{train,eval,all}_results.json`` with their keys."""
    epoch = float(result["epochs"])
    train = {
        "epoch": epoch,
        "train_loss": result["train_loss"],
        "train_runtime": result["train_seconds"],
        "train_samples": result["train_samples"],
        "train_samples_per_second": result["train_samples"] * epoch / result["train_seconds"],
        "train_steps_per_second": result["updates"] / result["train_seconds"],
    }
    found = {"epoch": epoch}
    for split, values in result["valid"].items():
        mm = "_mm" if split.endswith(MISMATCHED) else ""
        found |= {f"eval_{name}{mm}": value for name, value in values.items()}
        seconds = max(values["runtime"], 1e-9)
        found[f"eval_samples_per_second{mm}"] = values["samples"] / seconds
        found[f"eval_steps_per_second{mm}"] = -(-values["samples"] // BATCH) / seconds
    return {"train": train, "eval": found, "all": train | found}


def model_card(cell, base_model):
    """Return a model card, with the ``model-index`` that the Hugging Face Hub reads."""
    spec = cell.spec
    run, result = cell.best
    values = result["valid"][VALID]
    metrics = "\n".join(
        f"    - name: {name}\n      type: {name}\n      value: {values[name]:.6f}" for name in spec.metrics
    )
    rows = [["metric", "this run", "median of the seeds", "range", "majority class"]]
    for name in spec.metrics:
        values = cell.values(name)
        rows.append([name, number(result["valid"][VALID][name], 4), number(statistics.median(values), 4),
                     spread(values, (4, 1)), number(cell.baseline(name), 4)])  # fmt: skip
    labels = ", ".join(f"{i}: {name}" for i, name in enumerate(spec.id2label)) or f"scores, {spec.scale}"
    return f"""---
language: en
library_name: fairseq
pipeline_tag: text-classification
tags: [fairseq, glue]
datasets: [glue]
metrics: [{", ".join(spec.metrics)}]
model-index:
- name: {os.path.basename(os.path.dirname(result["checkpoint"]))}
  results:
  - task:
      name: Text Classification
      type: text-classification
    dataset:
      name: GLUE {spec.name}
      type: glue
      args: {hugging_face_name(spec)}
    metrics:
{metrics}
---

# {spec.name}

Fine-tuned from `{base_model}` by `scripts/run_glue.py`: learning rate {run.lr:g}, {run.batch_size} sentences an update,
{result["epochs"]} epochs, seed {run.seed}{f", after {run.intermediate}" if run.intermediate else ""}.
Checkpoint: `{result["checkpoint"]}`. Labels: {labels}.

The epoch, the learning rate and this run among its {len(cell.runs)} seeds were chosen on the development set that the
scores are from, so they flatter the model a little.

{markdown(rows)}

{cell.failed} of {len(cell.runs)} runs with these settings ended at one class.
"""
