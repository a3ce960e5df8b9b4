"""One call of ``scripts/run_glue.py``: check the request, execute missing runs, write tables, cards and predictions."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugins import hub, tables
from plugins.checkpoints import find_checkpoint
from plugins.data.glue import dataset
from plugins.data.glue import specs as glue_specs
from plugins.errors import UserError
from plugins.files import staging, write_json, write_text
from plugins.jobs import Resources

from . import cards, hyperparameters, plan, predict, report, runs

TITLE = "The published table's columns (CoLA: accuracy, STS-B: squared error of label / 5 over ln 2)"
OFFICIAL = "Official metrics, in percent"


@dataclass(frozen=True)
class GlueRequest:
    """Options of a call to ``scripts/run_glue.py``.

    Attributes:
        glue_dir: folder of the data.
        checkpoint: pretrained model, its dictionary and tokenizer next to it.
        output: folder to write.
        tasks: names, YAML files, or ``all``.
        seeds: seeds, or None for those of ``config``, else 1, 2, 3.
        hyperparameters: {name: value or None}, see :data:`.hyperparameters.HYPERPARAMETERS`.
        intermediate: task that others start from.
        intermediate_for: those others, or None for :data:`.plan.INTERMEDIATE_FOR`.
        config: YAML file with hyperparameters.
        skip_bad_rows: leave malformed rows out.
        cache_dir: folder of tokenized files, ``none``, or None for the default.
        jobs: runs at a time; None: as many as fit.
        command: command line, to record in the results.
    """

    glue_dir: str
    checkpoint: str
    output: str
    tasks: Sequence[str] = ("all",)
    seeds: Sequence[int] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    intermediate: str | None = None
    intermediate_for: Sequence[str] | None = None
    config: str | None = None
    skip_bad_rows: bool = False
    cache_dir: str | None = None
    jobs: int | None = None
    command: str = ""


def run(request: GlueRequest, resources: Resources) -> None:
    """Fine-tune, evaluate and report.

    Raises:
        UserError: the request or a file is invalid, or a run failed.
    """
    planned, setting = prepare(request, resources)
    if request.jobs is None:
        submitted = resources.launcher == "submitit"
        many = len(planned) if submitted else runs.fitting(setting.checkpoint, resources.threads, setting.cpu)
        resources = dataclasses.replace(resources, at_a_time=min(len(planned), many))
    print(f"{len(planned)} runs, {resources.at_a_time} at a time", flush=True)
    finish(runs.do_all(planned, setting, resources), setting, request.command)


def prepare(request: GlueRequest, resources: Resources) -> tuple[list[plan.FineTuning], runs.RunSetting]:
    """Return the runs and their shared settings, after checking the request.

    Raises:
        UserError: the request is invalid.
    """
    checkpoint = find_checkpoint(request.checkpoint)
    specs, flags = runs.choose_tasks(request.glue_dir, request.tasks)
    chosen = list(specs.values())
    content = hyperparameters.read_yaml(request.config, chosen) if request.config else {}
    receivers = [glue_specs.find(name, "--intermediate-for", chosen).name for name in request.intermediate_for or ()]
    intermediate = request.intermediate or content.get("intermediate")
    if intermediate:
        found, words = runs.choose_tasks(request.glue_dir, [intermediate], "--intermediate", chosen)
        (intermediate,) = found
        specs, flags = found | specs, words | flags
    seeds = request.seeds or content.get("seeds") or [1, 2, 3]
    planned = plan.plan(
        list(specs), seeds, request.hyperparameters, content, intermediate, receivers or plan.INTERMEDIATE_FOR
    )
    cache = request.cache_dir or dataset.default_cache()
    setting = runs.RunSetting(
        Path(request.glue_dir).resolve(), Path(checkpoint).resolve(), Path(request.output), specs, flags,
        resources.on_cpu, None if cache == "none" else cache, request.skip_bad_rows,
    )  # fmt: skip
    return planned, setting


def finish(results: Mapping[plan.FineTuning, dict], setting: runs.RunSetting, command: str) -> None:
    """Print the tables and write every file: the results first, then what is made from the best models."""
    perplexity = report.pretraining_perplexity(setting.checkpoint)
    with staging(setting.output) as folder:  # locks it: two calls that end together keep each other's results
        others, specs = runs.of_other_tasks(setting)
        results, specs = {**results, **others}, setting.specs | specs
        by_task = report.cells(results, specs)
        shown = {OFFICIAL: report.official_table(by_task)}
        if not by_task.keys().isdisjoint(report.PAPER):
            shown = {TITLE: report.paper_table(by_task, perplexity)} | shown
        warnings = report.warnings(by_task)
        text = [f"    {command}"]
        text += [f"{title}.\n\n{tables.markdown(table[0], table[1:])}" for title, table in shown.items()]
        text += [f"Warning: {line}." for line in warnings]
        best = {task: found[0].best[1]["checkpoint"] for task, found in by_task.items()}
        rows = [run.as_row() | result for run, result in results.items()]
        everything = {"command": command, "checkpoint": str(setting.checkpoint), "perplexity": perplexity, "best": best,
                      "warnings": warnings, "runs": rows}  # fmt: skip
        write_text(folder / "results.md", "\n\n".join(text) + "\n")
        write_text(folder / "results.csv", report.as_csv(results, specs))
        write_json(folder / runs.RESULTS, everything, indent=1)
    for title, table in shown.items():
        print(f"\n{title}\n{tables.aligned(table)}")
    print()
    for line in warnings:
        print(f"warning: {line}")
    for task in setting.specs:
        write_task(by_task[task][0], setting)
    print(f"everything is in {setting.output}/")


def write_task(cell: report.SeedGroup, setting: runs.RunSetting) -> None:
    """Write results, model card and test predictions of the best run of a task into its folder below the output."""
    result = cell.best[1]
    model = hub.load(str(setting.output / result["checkpoint"]))
    predictions = {}
    for split in cell.spec.test_splits:
        try:
            predictions[split] = predict.answers(
                model, setting.glue_dir, split, None, setting.cache, setting.skip_bad_rows
            )
        except UserError as error:
            print(f"no predictions for {split}: {error}", file=sys.stderr)
    with staging(setting.output / cell.spec.name) as folder:
        for kind, content in cards.hugging_face_results(result).items():
            write_json(folder / f"{kind}_results.json", content, indent=1)
        write_text(folder / "README.md", cards.model_card(cell, setting.checkpoint))
        for split, given in predictions.items():
            predict.write_predictions(
                folder / f"predict_results_{cards.hugging_face_name(cell.spec, split)}.txt", given
            )
