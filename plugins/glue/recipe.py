"""How to fine-tune: RoBERTa's recipe, what a YAML file or the command line changes of it, and the command it makes."""

import argparse
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from plugins.data import glue_dataset
from plugins.errors import UserError
from plugins.options import flag
from plugins.tasks.glue import GlueConfig

# Liu et al., 2019 (arXiv 1907.11692), table 10; learning rates and batch sizes by task are those of fairseq's
# examples/roberta/config/finetuning, with which the published table was made.
RECIPE = {
    "epochs": 10,
    "lr": [1e-5],
    "batch_size": [16],
    "warmup": 0.06,
    "dropout": 0.1,
    "weight_decay": 0.1,
    "clip_norm": 0.0,
    "pooler_type": "bos",
    "layer_lr_decay": 1.0,
    "reinit_layers": 0,
    "max_positions": None,
    "max_tokens": None,
    "options": "",
}
BY_TASK = {
    **dict.fromkeys(("RTE", "STS-B"), {"lr": [2e-5]}),
    **dict.fromkeys(("SST-2", "QNLI", "QQP", "MNLI"), {"batch_size": [32]}),
}
INTERMEDIATE_FOR = ("RTE", "MRPC", "STS-B")  # as in RoBERTa, section 5.1, and in STILTs (Phang et al., 2018)
LISTS = ("lr", "batch_size")
HELP = {
    "epochs": "passes over the training data",
    "lr": "peak learning rates to try",
    "batch_size": "sentences in an update, to try",
    "warmup": "share of the updates in which the learning rate grows",
    "dropout": "of the encoder, its attention and the head",
    "weight_decay": "of matrices",
    "clip_norm": "largest norm of a gradient; 0: no limit",
    "pooler_type": "what the head sees: bos, mean, max or attention",
    "layer_lr_decay": "learning rate of each layer relative to the one above it",
    "reinit_layers": "top layers that start from random values",
    "max_positions": "longest input (default: the model's, or 512)",
    "max_tokens": "most tokens in a batch, padding included",
    "options": "more options of fairseq-train, in one string",
}


@dataclass(frozen=True)
class Run:
    """One fine-tuning run: a cell of the grid and a seed."""

    task: str
    lr: float
    batch_size: int
    seed: int
    intermediate: str | None
    recipe: dict = field(compare=False)

    @property
    def name(self):
        return f"{self.task}/lr{self.lr}_b{self.batch_size}_s{self.seed}"

    @property
    def cell(self):
        """What runs with different seeds share."""
        return (self.task, self.lr, self.batch_size)


def read_yaml(path):
    """Read what a YAML file changes of the recipe: keys of :data:`RECIPE`, and ``tasks: {RTE: {...}}``.

    Raises:
        UserError: unreadable, or an unknown key.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    known = {*RECIPE, "tasks", "seeds", "intermediate"}
    parts = [content, *(content.get("tasks") or {}).values()] if isinstance(content, dict) else [None]
    for part in parts:
        if not isinstance(part, dict):
            raise UserError(f"{path}: a mapping of {', '.join(sorted(known))} is expected")
        for key in part:
            if key not in known:
                raise UserError(f"{path}: unknown key {key!r}; there are {', '.join(sorted(known))}")
    return content


def plan(tasks, seeds, given, from_yaml, intermediate=None, intermediate_for=INTERMEDIATE_FOR):
    """Return every :class:`Run`: tasks x learning rates x batch sizes x seeds.

    Args:
        tasks: names.
        given: what the command line says, None for what it does not; it wins over the YAML, and that over the recipe.
        intermediate: the task whose fine-tuned checkpoint those in ``intermediate_for`` start from.
    """
    own = from_yaml.get("tasks") or {}
    general = {k: v for k, v in from_yaml.items() if k in RECIPE}
    runs = []
    for task in tasks:
        recipe = RECIPE | BY_TASK.get(task, {}) | general | own.get(task, {})
        recipe |= {k: v for k, v in given.items() if v is not None}
        for key in LISTS:
            recipe[key] = recipe[key] if isinstance(recipe[key], list) else [recipe[key]]
        start = intermediate if task in intermediate_for and task != intermediate else None
        for lr, size, seed in itertools.product(map(float, recipe["lr"]), recipe["batch_size"], seeds):
            runs.append(Run(task, lr, int(size), int(seed), start, recipe))
    return list(dict.fromkeys(runs))


COUNTED = ("max_epoch", "max_update", "batch_size", "max_tokens", "max_positions", "pad_to_multiple")


def frequencies(text):
    """Read what --update-freq takes, a number for each epoch: ``2``, ``4,2`` or ``[4, 2]``."""
    return [max(1, int(number)) for number in text.strip("[]").split(",")]


def updates(words, data, longest):
    """Return how many updates a run makes, which fairseq's schedule needs to know; one GPU, or the CPU, makes them.

    With --max-tokens that is a close estimate, for batches vary from epoch to epoch.

    Args:
        words: what follows ``fairseq-train`` on the command line.
        data: :class:`plugins.data.glue_dataset.Tokenised`, to train on.
        longest: input where --max-positions is not among the words.

    Raises:
        UserError: a value is no number, or an input is longer than --max-tokens.
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
    pairs = glue_dataset.SentencePairs(data, None, found.max_positions or longest, found.pad_to_multiple)
    batches = len(pairs.batch_by_size(pairs.ordered_indices(), found.max_tokens, found.batch_size))
    last = len(found.update_freq) - 1
    total = sum(-(-batches // found.update_freq[min(epoch, last)]) for epoch in range(found.max_epoch))
    return min(total, found.max_update or total)


def command(run, glue_dir, checkpoint, folder, data, longest, task_options, cpu):
    """Return what follows ``fairseq-train`` on the command line of a run, and how many updates it makes.

    Args:
        checkpoint: where it starts.
        data, longest: as :func:`updates`.
        task_options: what names the task.

    Raises:
        UserError: as :func:`updates`.
    """
    r, spec = run.recipe, task_options["spec"]
    options = f"""--task glue --criterion glue --arch clap_roberta --optimizer fused_adamw --adam-betas (0.9,0.98)
        --adam-eps 1e-6 --weight-decay {r["weight_decay"]} --clip-norm {r["clip_norm"]} --lr {run.lr}
        --lr-scheduler polynomial_decay --max-epoch {r["epochs"]} --batch-size {run.batch_size} --dropout {r["dropout"]}
        --attention-dropout {r["dropout"]} --pooler-dropout {r["dropout"]} --pooler-type {r["pooler_type"]}
        --layer-lr-decay {r["layer_lr_decay"]} --reinit-layers {r["reinit_layers"]} --seed {run.seed} --num-workers 0
        --valid-subset {",".join(spec.valid_splits)} --no-epoch-checkpoints --log-format json --log-interval 50"""
    words = [str(glue_dir), "--user-dir", str(Path(__file__).parents[1]), *options.split()]
    words += ["--finetune-from-model", str(checkpoint), "--save-dir", str(folder), *task_options["flags"]]
    for name in ("max_positions", "max_tokens"):
        if r[name] is not None:
            words += [flag(name), str(r[name])]
    more = str(r["options"]).split()
    total = updates([*words, *more], data, longest)
    schedule = ["--total-num-update", str(total), "--warmup-updates", str(round(float(r["warmup"]) * total))]
    return [*words, *schedule, *(["--cpu"] if cpu else []), *more], total
