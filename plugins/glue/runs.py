"""Run fine-tuning jobs, skip finished ones, evaluate the best checkpoint of each."""

import functools
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plugins import checkpoints, hub
from plugins.analysis.metrics import glue as glue_metrics
from plugins.analysis.runs import logs
from plugins.checkpoints import roberta
from plugins.data.glue import dataset, reader
from plugins.data.glue import specs as glue_specs
from plugins.errors import UserError
from plugins.files import read_json_if_any, replacing
from plugins.hub.devices import move
from plugins.jobs import Job, Resources, Runner, how_many
from plugins.jobs.job import Note
from plugins.tasks.glue import DEFAULT_POSITIONS, NO_CACHE

from . import plan, predict

BEST, LAST, RESULTS = "checkpoint_best.pt", "checkpoint_last.pt", "results.json"
LOG = "train.log"


@dataclass(frozen=True)
class RunSetting:
    """Settings shared by all runs.

    Attributes:
        glue_dir, checkpoint, output: paths; the checkpoint is the pretrained model.
        specs: {task name: spec}.
        flags: {task name: options of ``fairseq-train`` that name the task}.
        cpu: train on the CPU.
        cache: folder of tokenized files, or None.
        skip_bad_rows: as the task's option.
    """

    glue_dir: Path
    checkpoint: Path
    output: Path
    specs: dict[str, glue_specs.GlueSpec]
    flags: dict[str, list[str]]
    cpu: bool
    cache: str | None
    skip_bad_rows: bool


@dataclass(frozen=True)
class TrainingRows:
    """Statistics of a training set of N rows that the evaluation needs: labels (N,), N, and the rows left out."""

    labels: np.ndarray
    count: int
    skipped: int


def choose_tasks(
    glue_dir: str | Path,
    names: Iterable[str],
    source: str = "--tasks",
    own: Sequence[glue_specs.GlueSpec] = (),
) -> tuple[dict[str, glue_specs.GlueSpec], dict[str, list[str]]]:
    """Return {name: spec} and {name: flags} of tasks.

    Args:
        glue_dir: folder with a folder per task.
        names: names of GLUE tasks, YAML files, or ``all``: every task whose data is in the folder.
        source, own: as :func:`plugins.data.glue.specs.find`.

    Raises:
        UserError: no such task, no training data for it, or two tasks with one name.
    """
    specs: dict[str, glue_specs.GlueSpec] = {}
    flags: dict[str, list[str]] = {}
    names = list(names)
    everything = source == "--tasks" and [name.lower() for name in names] == ["all"]
    for name in glue_specs.SPECS if everything else names:
        is_file = str(name).endswith((".yaml", ".yml"))
        spec = glue_specs.read(name) if is_file else glue_specs.find(name, source, own)
        try:
            reader.locate(glue_dir, spec, glue_specs.TRAIN)
            for split in spec.valid_splits:
                reader.locate(glue_dir, spec, split)
        except UserError:
            if everything:
                continue
            raise
        if specs.setdefault(spec.name, spec) != spec:
            raise UserError(f"{source} {name}: its name, {spec.name}, is the name of another task; rename it")
        flags[spec.name] = ["--spec", str(name)] if is_file else ["--glue-task", spec.name]
    if not specs:
        raise UserError(f"{glue_dir}: has no folder of a GLUE task with training data")
    return specs, flags


def fitting(checkpoint: str | Path, threads: int, cpu: bool) -> int:
    """Return how many runs fit at a time on this machine; see :func:`plugins.jobs.how_many`."""
    parameters = sum(tensor.numel() for tensor in checkpoints.read_state(str(checkpoint))["model"].values())
    return how_many(parameters, threads, cpu)


def do_all(planned: list[plan.FineTuning], setting: RunSetting, resources: Resources) -> dict[plan.FineTuning, dict]:
    """Execute the runs, first those that others start from, and return {run: result}.

    Raises:
        UserError: a run failed; the others were stopped, and the next call resumes them.
    """
    tokenizer = dataset.FolderTokenizer(os.path.dirname(setting.checkpoint))
    for task in dict.fromkeys(run.task for run in planned):  # once, and before anything is trained
        for split in (glue_specs.TRAIN, *setting.specs[task].valid_splits):
            load(setting, setting.specs[task], split, tokenizer)
    first = {run.intermediate for run in planned} - {None}
    stages = [[r for r in planned if r.task in first], [r for r in planned if r.task not in first]]
    results: dict[plan.FineTuning, dict] = {}
    with Runner(setting.output, resources, total=len(planned), changed="redo") as runner:
        for stage in filter(None, stages):
            jobs = {run: job(run, setting, start_of(run, results, setting), tokenizer) for run in stage}
            found = runner.run(list(jobs.values()))
            results |= {run: found[run.name] for run in stage}
    return {run: results[run] for run in planned}


def of_other_tasks(setting: RunSetting) -> tuple[dict[plan.FineTuning, dict], dict[str, glue_specs.GlueSpec]]:
    """Return {run: result} of other tasks in an earlier call's results for the same checkpoint, and {task: spec}."""
    results, specs = {}, {}
    content = read_json_if_any(setting.output / RESULTS)
    rows = content.get("runs", ()) if content.get("checkpoint") == str(setting.checkpoint) else ()
    other = {row["task"] for row in rows if not row["intermediate"] and not of_this_content(row, setting)}
    for row in rows:
        path = setting.output / row["checkpoint"]
        if row["task"] in setting.specs or other & {row["task"], row["intermediate"]} or not path.exists():
            continue
        run = plan.FineTuning.from_row(row)
        results[run] = row
        specs[run.task] = glue_specs.from_plain(checkpoints.read_state(path)["task_state"]["spec"])
    return results, specs


def of_this_content(row: Mapping[str, Any], setting: RunSetting) -> bool:
    """Return whether a run of an earlier call has started from the present content of the checkpoint."""
    identity = Note.read(setting.output / Path(row["checkpoint"]).parent).identity
    return not isinstance(identity, dict) or identity.get("start") in (None, fingerprint(setting.checkpoint))


def start_of(run: plan.FineTuning, results: Mapping[plan.FineTuning, dict], setting: RunSetting) -> Path:
    """Return the checkpoint that a run starts from: the pretrained one, or the intermediate task's of the same seed."""
    if run.intermediate is None:
        return setting.checkpoint
    same = [(r, result) for r, result in results.items() if r.task == run.intermediate and r.seed == run.seed]
    best = max(same, key=lambda pair: pair[1]["score"])[0]
    return setting.output / best.name / BEST


# One run


def job(run: plan.FineTuning, setting: RunSetting, start: Path, tokenizer: dataset.FolderTokenizer) -> Job:
    """Return the job that fine-tunes from a checkpoint and evaluates the best epoch.

    Raises:
        UserError: as :func:`.plan.command`.
    """
    folder, spec = setting.output / run.name, setting.specs[run.task]
    train = load(setting, spec, glue_specs.TRAIN, tokenizer)
    state = checkpoints.read_state(start)
    longest = roberta.of_checkpoint(state).get("max_positions", DEFAULT_POSITIONS)
    arch = checkpoints.architecture(state, start)
    named: dict[str, Any] = {"spec": spec, "flags": setting.flags[run.task], "arch": arch}
    options, updates = plan.command(run, setting.glue_dir, start, folder, train, longest, named, setting.cpu)
    # File paths and caching do not affect the result; the content of the files does.
    places = {*map(str, (setting.glue_dir, start, folder)), *named["flags"]}
    identity = {
        "options": [word for word in options if word not in places],
        "data": [key(setting, spec, split, tokenizer) for split in (glue_specs.TRAIN, *spec.valid_splits)],
        "start": fingerprint(start),
    }
    options += ["--cache-dir", setting.cache or NO_CACHE, *["--skip-bad-rows"] * setting.skip_bad_rows]
    assert train.labels is not None  # training sets are labeled
    rows = TrainingRows(train.labels, len(train), train.skipped)
    return Job(
        run.name, ("fairseq-train", *options), updates, identity, LOG, (BEST,),
        functools.partial(evaluate, run, setting, rows),
    )  # fmt: skip


def key(setting: RunSetting, spec: glue_specs.GlueSpec, split: str, tokenizer: dataset.FolderTokenizer) -> Any:
    """Return the identity of a split's content."""
    path = reader.locate(setting.glue_dir, spec, split)
    return dataset.key(path, spec, split, tokenizer, setting.skip_bad_rows)


def load(
    setting: RunSetting, spec: glue_specs.GlueSpec, split: str, tokenizer: dataset.FolderTokenizer
) -> dataset.Tokenized:
    """Return a split, tokenized.

    Raises:
        UserError: no such file, or a bad row.
    """
    path = reader.locate(setting.glue_dir, spec, split)
    return dataset.load(path, spec, split, tokenizer, setting.cache, setting.skip_bad_rows)


def evaluate(run: plan.FineTuning, setting: RunSetting, train: TrainingRows, folder: Path, device: str = "cpu") -> dict:
    """Evaluate the best epoch of a run on each validation split, write the predictions, and shrink the checkpoints.

    Returns:
        ``score``: the metric that chose the epoch; ``valid``: {split: metrics}; ``baseline``: the same for the majority
        class; ``collapsed``: whether the best or the last epoch predicts a single class; and the log's results.
    """
    spec = setting.specs[run.task]
    model: Any = hub.load(str(folder / BEST))
    move(model, device)
    valid: dict[str, dict[str, Any]] = {}
    baseline, collapsed = {}, False
    for split in spec.valid_splits:
        began = time.monotonic()
        given = predict.answers(model, setting.glue_dir, split, None, setting.cache, setting.skip_bad_rows)
        seconds = time.monotonic() - began
        predict.write_valid(folder / f"{split}_predictions.tsv", given)
        assert given.targets is not None  # validation splits are labeled
        valid[split] = {**given.scores(), "loss": given.loss, "samples": len(given.index), "runtime": seconds}
        baseline[split] = baseline_of(spec, train.labels, given.targets)
        collapsed |= given.collapsed()
    logged = from_log((folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines())
    collapsed |= logged.pop("last_share") >= glue_metrics.COLLAPSED
    slim(folder)
    return {
        "score": valid[glue_specs.VALID][spec.best],
        "valid": valid,
        "baseline": baseline,
        "collapsed": bool(collapsed),
        "train_samples": train.count,
        "skipped_rows": train.skipped,
        "checkpoint": f"{run.name}/{BEST}",  # relative to the output folder, which may be moved
        **logged,
    }


def baseline_of(spec: glue_specs.GlueSpec, labels: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the metrics of predicting the majority class, or the mean, of the training labels.

    Args:
        labels: labels of the training set, (N,).
        targets: targets of the validation split, (M,).
    """
    found = glue_metrics.baseline(spec.metrics, labels, targets, spec.is_regression)
    if spec.is_regression:
        mse = glue_metrics.mean_squared_error([labels.mean()] * len(targets), targets)
        found |= {"mse": mse, "published_loss": glue_metrics.published_loss(mse, spec.scale)}
    return found


def from_log(lines: list[str]) -> dict[str, Any]:
    """Return a run's statistics for a report from its log, which may contain interruptions and repeated updates.

    ``train_seconds`` is the time of all epochs without validation; toy runs whose epochs are all logged as 0 seconds
    count validation too.
    """
    records = logs.read_log(lines)
    train = [r.values for r in records if r.stage == logs.TRAIN]
    valid = [r.values for r in records if r.stage == logs.VALID]
    seconds = sum(values.get("train_wall", 0.0) for values in train)
    total = sum(float(match[1]) for line in lines if (match := re.search(r"done training in ([\d.]+) seconds", line)))
    return {
        "train_seconds": seconds or max(total, 0.1),
        "last_share": valid[-1].get("top_class_share", 0.0) if valid else 0.0,
        "train_loss": train[-1].get("nll", train[-1].get("mse")) if train else None,
        "epochs": int(train[-1]["epoch"]) if train else 0,
        "updates": max((r.updates for r in records), default=0),
    }


def slim(folder: Path) -> None:
    """Delete files that only resuming needs: the last checkpoint, and the optimizer state of the best one."""
    state = checkpoints.read_state(str(folder / BEST))
    state["last_optimizer_state"] = None
    with replacing(folder / BEST) as part, part.open("wb") as file:
        torch.save(state, file)
    (folder / LAST).unlink(missing_ok=True)


def fingerprint(path: str | Path) -> list[int]:
    """Return size and modification time of a checkpoint, which identify its content."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]
