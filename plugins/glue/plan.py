"""Plan fine-tuning runs: the grid of hyperparameters and seeds, and the command line of each run."""

import argparse
import itertools
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugins import user_dir
from plugins.data.glue import dataset
from plugins.errors import UserError
from plugins.options import flag
from plugins.tasks.glue import GlueConfig

from .hyperparameters import BY_TASK, HYPERPARAMETERS, checked

INTERMEDIATE_FOR = ("RTE", "MRPC", "STS-B")  # as in RoBERTa, section 5.1, and in STILTs (Phang et al., 2018)


@dataclass(frozen=True)
class FineTuning:
    """One fine-tuning run: a cell of the grid of hyperparameters, and a seed."""

    task: str
    lr: float
    batch_size: int
    seed: int
    intermediate: str | None
    hyperparameters: dict[str, Any] = field(compare=False)

    @property
    def name(self) -> str:
        """Path of the run's folder."""
        return f"{self.task}/lr{self.lr}_b{self.batch_size}_s{self.seed}"

    @property
    def cell(self) -> tuple[str, float, int]:
        """The settings shared by runs with different seeds."""
        return (self.task, self.lr, self.batch_size)

    def as_row(self) -> dict[str, Any]:
        """Return the run as ``results.json`` stores it."""
        row = {key: getattr(self, key) for key in ROW[:-1]}
        return row | {ROW[-1]: self.hyperparameters}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "FineTuning":
        """Return the run of a row of ``results.json``, whose own keys are removed from the row."""
        return cls(*(row.pop(key) for key in ROW))


ROW = ("task", "lr", "batch_size", "seed", "intermediate", "recipe")  # columns of results.json


def plan(
    tasks: Iterable[str],
    seeds: Any,
    given: Mapping[str, Any],
    from_yaml: Mapping[str, Any],
    intermediate: str | None = None,
    intermediate_for: Collection[str] = INTERMEDIATE_FOR,
) -> list[FineTuning]:
    """Return every run: tasks x learning rates x batch sizes x seeds.

    Args:
        tasks: names.
        seeds: a number or a list of them.
        given: hyperparameters from the command line, None where it has none; they take precedence over ``from_yaml``,
            and those over the defaults.
        from_yaml: returned by :func:`.hyperparameters.read_yaml`.
        intermediate: the task whose fine-tuned checkpoint those in ``intermediate_for`` start from.

    Raises:
        UserError: a value from the command line is out of range.
    """
    given = {key: checked(key, value, flag(key)) for key, value in given.items() if value is not None}
    seeds = checked("seeds", seeds, "--seeds")
    own = from_yaml.get("tasks", {})
    general = {k: v for k, v in from_yaml.items() if k in HYPERPARAMETERS}
    runs = []
    for task in tasks:
        chosen = HYPERPARAMETERS | BY_TASK.get(task, {}) | general | own.get(task, {}) | given
        start = intermediate if task in intermediate_for and task != intermediate else None
        for lr, size, seed in itertools.product(chosen["lr"], chosen["batch_size"], seeds):
            runs.append(FineTuning(task, lr, size, seed, start, chosen))
    return runs


COUNTED = ("max_epoch", "max_update", "batch_size", "max_tokens", "max_positions", "pad_to_multiple")


def frequencies(text: str) -> list[int]:
    """Read the value of ``--update-freq``, a number for each epoch: ``2``, ``4,2`` or ``[4, 2]``."""
    return [max(1, int(number)) for number in text.strip("[]").split(",")]


def updates(words: Sequence[str], data: dataset.Tokenized, longest: int) -> int:
    """Return the number of updates of a run on one GPU or on the CPU, which fairseq's schedule needs.

    With ``--max-tokens`` this is a close estimate, because batches vary from epoch to epoch.

    Args:
        words: arguments of ``fairseq-train``.
        data: the training set.
        longest: longest input in tokens, unless ``--max-positions`` is among the words.

    Raises:
        UserError: a value is not a number, or an input is longer than --max-tokens.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in COUNTED:
        parser.add_argument(flag(name), *["--max-sentences"] * (name == "batch_size"), type=int)
    parser.add_argument("--update-freq", type=frequencies, default=[1])
    parser.set_defaults(pad_to_multiple=GlueConfig.pad_to_multiple)
    try:
        found, _ = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(f"--options: {error}") from None
    pairs = dataset.SentencePairs(data, None, found.max_positions or longest, found.pad_to_multiple)
    batches = len(pairs.batch_by_size(pairs.ordered_indices(), found.max_tokens, found.batch_size))
    *first, last = (-(-batches // frequency) for frequency in found.update_freq[: max(1, found.max_epoch)])
    total = sum(first) + last * (found.max_epoch - len(first))
    return min(total, found.max_update or total)


def command(
    run: FineTuning,
    glue_dir: str | Path,
    checkpoint: str | Path,
    folder: str | Path,
    data: dataset.Tokenized,
    longest: int,
    task_options: Mapping[str, Any],
    cpu: bool,
) -> tuple[list[str], int]:
    """Return the arguments of ``fairseq-train`` for a run, and its number of updates.

    Args:
        run: the run.
        glue_dir: folder of the data.
        checkpoint: where training starts.
        folder: for ``--save-dir``.
        data, longest: as :func:`updates`.
        task_options: ``spec`` and ``flags`` of the task, and ``arch``, the architecture of the checkpoint.
        cpu: train on the CPU.

    Raises:
        UserError: as :func:`updates`.
    """
    r, spec = run.hyperparameters, task_options["spec"]
    arch = task_options.get("arch", "clap_roberta")
    options = f"""--task glue --criterion glue --arch {arch} --optimizer fused_adamw --adam-betas (0.9,0.98)
        --adam-eps 1e-6 --weight-decay {r["weight_decay"]} --clip-norm {r["clip_norm"]} --lr {run.lr}
        --lr-scheduler polynomial_decay --max-epoch {r["epochs"]} --batch-size {run.batch_size} --dropout {r["dropout"]}
        --attention-dropout {r["dropout"]} --pooler-dropout {r["dropout"]} --pooler-type {r["pooler_type"]}
        --layer-lr-decay {r["layer_lr_decay"]} --reinit-layers {r["reinit_layers"]} --seed {run.seed} --num-workers 0
        --valid-subset {",".join(spec.valid_splits)} --no-epoch-checkpoints --log-format json --log-interval 50"""
    words = [str(glue_dir), "--user-dir", user_dir.for_runs(), *options.split()]
    words += ["--finetune-from-model", str(checkpoint), "--save-dir", str(folder), *task_options["flags"]]
    for name in ("max_positions", "max_tokens"):
        if r[name] is not None:
            words += [flag(name), str(r[name])]
    more = shlex.split(r["options"])
    total = updates([*words, *more], data, longest)
    schedule = ["--total-num-update", str(total), "--warmup-updates", str(round(float(r["warmup"]) * total))]
    return [*words, *schedule, *(["--cpu"] if cpu else []), *more], total
