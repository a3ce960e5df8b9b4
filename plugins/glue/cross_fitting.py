"""Cross-fitting: F x S fine-tuning runs, each of which is trained without one fold and predicts it.

A :class:`Cell` is a training set: all or some rows, with all or part of their text. Its F x S runs are jobs of
:mod:`plugins.jobs`; the criterion ``glue`` records their logits.
"""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins import checkpoints
from plugins.checkpoints import roberta
from plugins.data.glue import dataset, folds, logits, specs
from plugins.diagnostics.datasets import UNLABELED, Rows
from plugins.errors import UserError, check
from plugins.files import make_folder, replacing, write_json, write_text
from plugins.jobs import Job, Resources, Runner, exclusive
from plugins.tasks.glue import DEFAULT_POSITIONS, NO_CACHE

from . import plan

NEVER_HELD_OUT = -1  # fold of rows that are in every training set
LOGITS = "logits"  # subfolder of a run with its recorded logits


@dataclass(frozen=True)
class Cell:
    """A training set with its folds.

    Attributes:
        name: name of the folders of the cell.
        rows: the training rows, split 0, and optional validation rows, split 1.
        folds: (n,) fold numbers of the training rows, from 0, or :data:`NEVER_HELD_OUT`.
        used: (n,) bool, rows used for training; None: all. All rows are evaluated.
        seeds: random seeds of the runs; None: the seeds of the setting.
    """

    name: str
    rows: Rows
    folds: np.ndarray
    used: np.ndarray | None = None
    seeds: Sequence[int] | None = None

    @property
    def train(self) -> np.ndarray:
        """Row numbers of the training rows."""
        return np.flatnonzero(self.rows.splits == 0)


@dataclass(frozen=True)
class Setting:
    """Settings shared by all cells.

    Attributes:
        output: folder to write.
        checkpoint: the pretrained model.
        seeds: S.
        given: hyperparameters that override :mod:`.plan`, with a single learning rate and batch size.
        from_yaml: hyperparameters from a file, see :func:`.hyperparameters.read_yaml`.
        cpu: train on the CPU.
        cache: folder of tokenized files, or None.
    """

    output: Path
    checkpoint: Path
    seeds: Sequence[int]
    given: Mapping
    from_yaml: Mapping
    cpu: bool
    cache: str | None


@dataclass(frozen=True)
class Recorded:
    """The logits of a cell.

    Attributes:
        held_out: E arrays (S, n, K) of out-of-fold logits after each epoch, NaN for rows that are never held out.
        valid: E arrays (S * F, m, K) of logits of the validation rows; empty if there are none.
        training: for each run, E arrays (n, K) of training logits, memory-mapped, NaN for rows not trained on.
    """

    held_out: list[np.ndarray]
    valid: list[np.ndarray]
    training: list[list[np.ndarray]]


def run(cells: Sequence[Cell], setting: Setting, resources: Resources) -> dict[str, Recorded]:
    """Execute the missing runs of all cells, and return the logits of each cell by its name.

    Raises:
        UserError: a run failed, or options are out of range.
    """
    folder = setting.output / "runs"
    with exclusive(folder):  # until all runs have read their data
        jobs = [job for cell in cells for job in jobs_of(cell, setting)]
        with Runner(folder, resources, total=len(jobs), changed="redo") as runner:
            runner.run(jobs)
    return {cell.name: collect(cell, setting) for cell in cells}


def jobs_of(cell: Cell, setting: Setting) -> list[Job]:
    """Write the data of a cell, and return its jobs.

    Raises:
        UserError: an option has several values or is out of range, or the checkpoint cannot be read.
    """
    folder = setting.output / "data" / cell.name
    spec = write_task(folder, cell.rows)
    tokenizer = dataset.FolderTokenizer(os.path.dirname(setting.checkpoint))
    path = folder / spec.files[specs.TRAIN]
    data = dataset.load(path, spec, specs.TRAIN, tokenizer, setting.cache)  # once, before anything is trained
    seeds = cell.seeds or setting.seeds
    runs = plan.plan([spec.name], list(seeds), dict(setting.given), dict(setting.from_yaml))
    check(len(runs) == len(seeds), "--lr and --batch-size: give a single value of each")
    state = checkpoints.read_state(str(setting.checkpoint))
    longest, arch = (
        roberta.of_checkpoint(state).get("max_positions"),
        checkpoints.architecture(state, setting.checkpoint),
    )
    content = {"data": hashlib.sha256(path.read_bytes()).hexdigest(), "tokenizer": tokenizer.fingerprint()}
    if (cell.rows.splits == 1).any():
        content["valid"] = hashlib.sha256((folder / spec.files["valid"]).read_bytes()).hexdigest()
    jobs = []
    for number in range(int(cell.folds.max()) + 1):
        sides = np.where(cell.folds == number, 0, 1)  # 0: the held-out fold
        if cell.used is not None:
            sides[(sides == 1) & ~cell.used] = -1
        file = folder / f"fold{number + 1}.npy"
        save(file, sides)
        train = dataset.part(data, np.flatnonzero(sides == 1))
        for one in runs:
            name = run_name(cell, number, one.seed)
            more = ["--fold", "1/2", "--fold-file", str(file), "--no-save", "--record-logits",
                    str(setting.output / "runs" / name / LOGITS), "--valid-subset", splits(cell)]  # fmt: skip
            options, updates = plan.command(
                one, folder, setting.checkpoint, setting.output / "runs" / name, train, longest or DEFAULT_POSITIONS,
                {"spec": spec, "flags": ["--spec", str(folder / "spec.yaml")], "arch": arch}, setting.cpu,
            )  # fmt: skip
            stat = os.stat(setting.checkpoint)
            identity = {
                "options": portable([*options, *more], setting), **content,
                "fold": hashlib.sha256(sides.tobytes()).hexdigest(), "start": [stat.st_size, stat.st_mtime_ns],
            }  # fmt: skip
            words = ("fairseq-train", *options, *more, "--cache-dir", setting.cache or NO_CACHE)
            jobs.append(Job(name, words, updates, identity, finish=functools.partial(finish, splits(cell))))
    return jobs


def portable(options: Sequence[str], setting: Setting) -> list[str]:
    """Remove file paths from options; the identity of a run contains the content of the files instead."""
    root = str(Path(__file__).parents[2])
    places = (str(setting.output), str(setting.checkpoint), root)
    return [word for word in options if not word.startswith(places)]


def run_name(cell: Cell, fold: int, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{cell.name}/fold{fold + 1}_seed{seed}"


def splits(cell: Cell) -> str:
    """Return the splits to evaluate after each epoch, in the format of ``--valid-subset``."""
    return f"{folds.HELD_OUT},valid" if (cell.rows.splits == 1).any() else folds.HELD_OUT


def finish(wanted: str, folder: Path, device: str) -> dict:
    """Return the number of recorded epochs of each split.

    Raises:
        UserError: logits are missing.
    """
    return {split: len(logits.read(folder / LOGITS, split)) for split in wanted.split(",")}


def collect(cell: Cell, setting: Setting) -> Recorded:
    """Return the logits of the runs of a cell.

    Raises:
        UserError: logits are missing or damaged, or a row has none.
    """
    count, total = int(cell.folds.max()) + 1, len(cell.train)
    folder = setting.output / "runs"
    held_out: list[np.ndarray] = []
    valid: list[list[np.ndarray]] = []
    training = []
    seeds = cell.seeds or setting.seeds
    for place, seed in enumerate(seeds):
        for number in range(count):
            path = folder / run_name(cell, number, seed) / LOGITS
            training.append(logits.read(path, specs.TRAIN))
            own = cell.folds == number
            for epoch, values in enumerate(logits.read(path, folds.HELD_OUT)):
                if epoch == len(held_out):
                    held_out.append(np.full((len(seeds), total, values.shape[1]), np.nan, np.float32))
                held_out[epoch][place, own] = values[own]
            if "valid" in splits(cell):
                for epoch, values in enumerate(logits.read(path, "valid")):
                    valid += [[]] * (epoch == len(valid))
                    valid[epoch] = [*valid[epoch], np.asarray(values)]
    known = cell.folds != NEVER_HELD_OUT
    missing = [values for values in held_out if np.isnan(values[:, known]).any()]
    check(not missing, f"{folder / cell.name}: rows without a held-out answer; delete the folder to run again")
    return Recorded(held_out, [np.stack(values) for values in valid], training)


# Files


def save(path: Path, array: np.ndarray) -> None:
    """Write an array atomically."""
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_task(folder: Path, rows: Rows) -> specs.GlueSpec:
    """Write rows as JSON lines with a specification of their task, and return the specification.

    Raises:
        UserError: the files cannot be written, or a row has no label.
    """
    import json

    make_folder(folder)
    columns = [f"sentence{i + 1}" for i in range(len(rows.texts))]
    targets = rows.scores
    for number, name in enumerate(("train", "valid")):
        own = np.flatnonzero(rows.splits == number)
        if number and not len(own):
            continue
        check((rows.labels[own] != UNLABELED).all(), f"{name}: a row has no label")
        lines = []
        for i in own.tolist():
            label = str(rows.labels[i]) if targets is None else float(targets[i])
            lines.append(json.dumps({"label": label} | {c: t[i] for c, t in zip(columns, rows.texts, strict=True)}))
        write_text(folder / f"{name}.jsonl", "".join(line + "\n" for line in lines))
    if targets is None:
        kind = {"labels": [str(k) for k in range(len(rows.classes))], "metrics": ["accuracy"]}
    else:
        known = targets[np.isfinite(targets)]
        kind = {"scale": [str(float(known.min())), str(float(known.max()))], "metrics": ["pearson"]}
    row = {"name": "diagnosed", "files": {"train": "train.jsonl", "valid": "valid.jsonl"}, "text": columns,
           "label": "label", **kind}  # fmt: skip
    write_json(folder / "spec.yaml", row, indent=1)  # JSON is YAML
    return specs.read(folder / "spec.yaml")


def train_and_valid(rows: Rows) -> Rows:
    """Return the labeled rows of the training split and, if there is one, of the split named valid or dev.

    Raises:
        UserError: the training split has fewer than two labeled rows.
    """
    names = [name.lower() for name in rows.split_names]
    second = next((i for i, name in enumerate(names) if i and name in ("valid", "dev", "validation")), None)
    labeled = rows.labels != UNLABELED
    first = np.flatnonzero((rows.splits == 0) & labeled)
    if len(first) < 2:
        raise UserError(f"{rows.split_names[0]}: {len(first)} labeled rows; a diagnosis needs more")
    other = np.flatnonzero((rows.splits == second) & labeled) if second else np.zeros(0, int)
    found = rows.take(np.concatenate([first, other]))
    splits = np.repeat([0, 1], [len(first), len(other)])
    kept = [rows.split_names[0], *([rows.split_names[second]] if second and len(other) else [])]
    return Rows(found.columns, found.texts, found.labels, found.classes, splits, kept, found.index, found.scores)
