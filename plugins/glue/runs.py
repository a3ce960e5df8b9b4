"""Many fine-tuning runs: as many at a time as fit, none done twice, each ended by an evaluation of its best epoch."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from tqdm import tqdm

from plugins import checkpoints, hub
from plugins.analysis.metrics import glue as glue_metrics
from plugins.analysis.runs import logs
from plugins.checkpoints import roberta
from plugins.data.glue import dataset, reader
from plugins.data.glue import specs as glue_specs
from plugins.errors import UserError
from plugins.files import read_json_if_any, replacing, write_json
from plugins.hub.language_model import move
from plugins.jobs import launch
from plugins.tasks.glue import DEFAULT_POSITIONS, NO_CACHE

from . import predict, recipe

BEST, LAST, NOTE, RESULTS = "checkpoint_best.pt", "checkpoint_last.pt", "run.json", "results.json"
BYTES_A_PARAMETER = 20  # weights, gradients, two moments, activations of a small batch
PROCESS = 1.2e9  # bytes that a process takes before it has a model


@dataclass(frozen=True)
class Setting:
    """What all runs share.

    Attributes:
        glue_dir, checkpoint, output: paths; the checkpoint is the pretrained model.
        specs: {task name: spec}.
        flags: {task name: what names the task on the command line}.
        threads: CPU threads of a run.
        cpu: train on the CPU.
        cache: folder of tokenized files, or None.
        skip_bad_rows: as the task's option.
    """

    glue_dir: Path
    checkpoint: Path
    output: Path
    specs: dict
    flags: dict
    threads: int
    cpu: bool
    cache: str | None
    skip_bad_rows: bool


def choose_tasks(glue_dir, names, source="--tasks", own=()):
    """Return {name: spec} and {name: flags} of tasks: names of GLUE's, YAML files, or ``all`` that the folder has.

    Args:
        source, own: as :func:`plugins.data.glue.specs.find`.

    Raises:
        UserError: no such task, no training data for it, or two of one name.
    """
    specs, flags = {}, {}
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
            raise UserError(f"{source} {name}: its name is {spec.name}, as another task's; rename it")
        flags[spec.name] = ["--spec", str(name)] if is_file else ["--glue-task", spec.name]
    if not specs:
        raise UserError(f"{glue_dir}: no folder of any GLUE task with its training data in it")
    return specs, flags


# As many as fit


def how_many(checkpoint, threads, cpu):
    """Return how many runs fit at a time: one a GPU, else what cores and free memory allow."""
    if not cpu:
        return len(launch.visible_gpus())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    weights = sum(tensor.numel() for tensor in checkpoints.read_state(str(checkpoint))["model"].values())
    need = PROCESS + BYTES_A_PARAMETER * weights
    return max(1, min(cores // threads, int(free_memory() // need)))


def free_memory():
    """Return the bytes of memory that are to be had."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2


def do_all(planned, setting, jobs):
    """Do runs, those that others start from first, and return {run: result}; finished ones are only read.

    Raises:
        UserError: a run failed; the others have ended by then, and are not done again next time.
    """
    results, devices = {}, launch.devices(jobs, setting.cpu)
    first = {run.intermediate for run in planned} - {None}
    tokenizer = dataset.Tokenizer(os.path.dirname(setting.checkpoint))
    for task in dict.fromkeys(run.task for run in planned):  # once, and before anything is trained
        for split in (glue_specs.TRAIN, *setting.specs[task].valid_splits):
            load(setting, setting.specs[task], split, tokenizer)
    stages = [[r for r in planned if r.task in first], [r for r in planned if r.task not in first]]
    with tqdm(total=len(planned), desc="runs", unit="run", disable=None) as bar:
        for stage in filter(None, stages):
            with ThreadPoolExecutor(jobs) as pool:
                starts = {run: start_of(run, results, setting) for run in stage}
                futures = {pool.submit(do, run, setting, starts[run], devices): run for run in stage}
                try:
                    for future in as_completed(futures):
                        results[futures[future]] = future.result()
                        bar.update()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    launch.stop_all()
                    raise
    return {run: results[run] for run in planned}


def of_other_tasks(setting):
    """Return {run: result} of tasks that an earlier call did for the same checkpoint, and {task name: spec} of them."""
    results, specs = {}, {}
    content = read_json_if_any(setting.output / RESULTS)
    for row in content.get("runs", ()) if content.get("checkpoint") == str(setting.checkpoint) else ():
        path = setting.output / row["checkpoint"]
        if row["task"] in setting.specs or not path.exists():
            continue
        run = recipe.Run(**{field.name: row.pop(field.name) for field in fields(recipe.Run)})
        results[run] = row
        specs[run.task] = glue_specs.from_plain(checkpoints.read_state(path)["task_state"]["spec"])
    return results, specs


def start_of(run, results, setting):
    """Return the checkpoint that a run starts from: the pretrained one, or the intermediate task's of the same seed."""
    if run.intermediate is None:
        return setting.checkpoint
    same = [(r, result) for r, result in results.items() if r.task == run.intermediate and r.seed == run.seed]
    best = max(same, key=lambda pair: pair[1]["score"])[0]
    return setting.output / best.name / BEST


# One run


def do(run, setting, start, devices):
    """Fine-tune and evaluate, unless that has been done; go on with what was interrupted. Returns the result."""
    folder, spec = setting.output / run.name, setting.specs[run.task]
    tokenizer = dataset.Tokenizer(os.path.dirname(setting.checkpoint))
    train = load(setting, spec, glue_specs.TRAIN, tokenizer)
    longest = roberta.of_checkpoint(checkpoints.read_state(start)).get("max_positions", DEFAULT_POSITIONS)
    named = {"spec": spec, "flags": setting.flags[run.task]}
    options, updates = recipe.command(run, setting.glue_dir, start, folder, train, longest, named, setting.cpu)
    known = read_json_if_any(folder / NOTE)
    # Where files lie, and whether the data is cached, makes no difference to the result; what is in them does.
    places = {*map(str, (setting.glue_dir, start, folder)), *named["flags"]}
    identity = {
        "options": [word for word in options if word not in places],
        "data": [key(setting, spec, split, tokenizer) for split in (glue_specs.TRAIN, *spec.valid_splits)],
        "start": fingerprint(start),
    }
    same = known.get("identity") == identity
    if same and known.get("result") and (folder / BEST).exists():
        return known["result"]
    if known.get("result"):
        changed = [name for name in identity if known["identity"].get(name) != identity[name]]
        tqdm.write(f"{run.name} is done again: other {' and '.join(changed) or 'files'} than before")
    claim(folder)
    launch.check_ended(folder / "train.log")
    if not (same and launch.resumable(folder)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write_json(folder / NOTE, {"identity": identity}, indent=1)
    options += ["--cache-dir", setting.cache or NO_CACHE, *["--skip-bad-rows"] * setting.skip_bad_rows]
    device = devices.get()
    try:
        began = time.monotonic()
        launch.fairseq_train(
            options, folder / "train.log", title=run.name, updates=updates, threads=setting.threads,
            bar=False, device=device,
        )  # fmt: skip
        seconds = {"train_seconds": time.monotonic() - began}
        result = seconds | evaluate(run, setting, train, device)
    finally:
        devices.put(device)
    slim(folder)
    write_json(folder / NOTE, {"identity": identity, "result": result}, indent=1)
    return result


def key(setting, spec, split, tokenizer):
    path = reader.locate(setting.glue_dir, spec, split)
    return dataset.key(path, spec, split, tokenizer, setting.skip_bad_rows)


def load(setting, spec, split, tokenizer):
    path = reader.locate(setting.glue_dir, spec, split)
    return dataset.load(path, spec, split, tokenizer, setting.cache, setting.skip_bad_rows)


def evaluate(run, setting, train, device="cpu"):
    """Evaluate the best epoch of a run on each validation split, and write the predictions beside it.

    Returns:
        ``score``: the metric that chose the epoch; ``valid``: {split: metrics}; ``baseline``: the same for the majority
        class; ``collapsed``: the best or the last epoch answers one class throughout; and what the log says.
    """
    folder, spec = setting.output / run.name, setting.specs[run.task]
    model = hub.load(str(folder / BEST))
    move(model, device)
    valid, baseline, collapsed = {}, {}, False
    for split in spec.valid_splits:
        began = time.monotonic()
        given = predict.answers(model, setting.glue_dir, split, None, setting.cache, setting.skip_bad_rows)
        seconds = time.monotonic() - began
        predict.write_valid(folder / f"{split}_predictions.tsv", given)
        valid[split] = given.scores() | {"loss": given.loss, "samples": len(given.index), "runtime": seconds}
        baseline[split] = glue_metrics.baseline(spec.metrics, train.labels, given.targets, spec.is_regression)
        if spec.is_regression:
            mse = glue_metrics.mean_squared_error([train.labels.mean()] * len(given.targets), given.targets)
            baseline[split] |= {"mse": mse, "published_loss": glue_metrics.published_loss(mse, spec.scale)}
        collapsed |= given.collapsed()
    with open(folder / "train.log", encoding="utf-8") as log:
        records = logs.read_log(log)
    said = from_log(records)
    collapsed |= said.pop("last_share") >= 0.99
    return {
        "score": valid[glue_specs.VALID][spec.best],
        "valid": valid,
        "baseline": baseline,
        "collapsed": bool(collapsed),
        "train_samples": len(train),
        "skipped_rows": train.skipped,
        "checkpoint": f"{run.name}/{BEST}",  # inside the output folder, which may be moved
        **said,
    }


def from_log(records):
    """Return what a run's log says that a report needs; ``train_seconds`` unless they all were rounded to 0."""
    train = [r.values for r in records if r.stage == logs.TRAIN]
    valid = [r.values for r in records if r.stage == logs.VALID]
    # Of every epoch, also of those before an interruption, and without validation.
    seconds = sum(values.get("train_wall", 0.0) for values in train)
    return ({"train_seconds": seconds} if seconds else {}) | {
        "last_share": valid[-1].get("top_class_share", 0.0) if valid else 0.0,
        "train_loss": train[-1].get("nll", train[-1].get("mse")) if train else None,
        "epochs": int(train[-1]["epoch"]) if train else 0,
        "updates": max((r.updates for r in records), default=0),
    }


def slim(folder):
    """Drop what only resuming needs: the last checkpoint, and the optimiser's state in the best one."""
    state = checkpoints.read_state(folder / BEST)
    state["last_optimizer_state"] = None
    with replacing(folder / BEST) as part, part.open("wb") as file:
        torch.save(state, file)
    (folder / LAST).unlink(missing_ok=True)


def fingerprint(path):
    """Return what changes when a checkpoint does."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]


def claim(folder):
    """Refuse a folder that another program filled, for it would be deleted."""
    if folder.exists() and any(folder.iterdir()) and not (folder / NOTE).exists():
        raise UserError(f"{folder} holds files that this command did not write; choose another folder: --output")
