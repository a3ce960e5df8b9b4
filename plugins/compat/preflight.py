"""Check, before the first update, options that fairseq checks late or never.

Defects: ``--update-freq 0``, ``--log-interval 0`` and others divide by zero; negative numbers and seeds of more than 32
bits end in tracebacks; ``--restore-file`` with a missing file trains from random weights; the name in
``--best-checkpoint-metric`` is looked up after the first validation, as a KeyError; a file that a task of fairseq lacks
in the data folder is a traceback.

Reported: https://github.com/facebookresearch/fairseq/issues/3881 (``--best-checkpoint-metric``).
"""

import ast
import contextlib
import math
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from plugins.errors import UserError, flag, shown

from . import precision, unavailable
from .patching import repaired, wrap

DEFAULT_RESTORE = "checkpoint_last.pt"
LEAST = {  # section: {option: its smallest value}; fairseq divides by most of these
    "common": {"log_interval": 1, "seed": 0},
    "dataset": {
        "num_workers": 0, "batch_size": 1, "max_tokens": 1, "batch_size_valid": 1, "max_tokens_valid": 1,
        "required_batch_size_multiple": 1, "validate_interval": 1,
    },
    "optimization": {"max_update": 0, "max_epoch": 0},
    "checkpoint": {"save_interval": 1},
    "lr_scheduler": {"warmup_updates": 0},
}  # fmt: skip
MOST = {"dataset": {"num_workers": 1024}}  # section: {option: its largest value}; each worker is a process
LARGEST_SEED = 2**31 - 1  # numpy's is 2**32 - 1, and fairseq adds epochs, updates and numbers of shards to it
UNLIMITED = 2**31 - 1  # in place of -1 in the options of BATCHES
BATCHES = ("batch_size", "max_tokens", "batch_size_valid", "max_tokens_valid")
TASKS = {  # model: (its task, those of fairseq that it can be trained by, with classes that inherit from them)
    "clap_roberta": (
        "clap_masked_lm",
        ("masked_lm", "multilingual_masked_lm", "sentence_prediction", "sentence_ranking"),
    ),
    "causal_lm": ("causal_lm", ("language_modeling", "multilingual_language_modeling")),
    "char_lm": ("char_lm", ()),
}
LISTS = {"lr": float, "update_freq": int}  # options that are a number, or a list with one for each epoch


def install() -> None:
    """Put the repairs in place."""
    train = sys.modules.get("fairseq_cli.train")  # importing it would configure logging
    if train is not None:
        wrap(train, "get_valid_stats", checked_stats)
        wrap(train, "add_defaults", checked_defaults)
    from fairseq import tasks  # import_fairseq must do so first

    wrap(tasks, "setup_task", named_setup)
    repaired("late errors", "bad numbers, a missing --restore-file and an unknown metric are found before training")


def named_setup(original: Callable, cfg: Any, **options: Any) -> Any:
    """Set up a task; what fairseq's own tasks lack is an error that names the task.

    Raises:
        UserError: a file is missing, or the task of fairseq does not accept its options.
    """
    from fairseq.tasks import TASK_REGISTRY

    name = str(cfg.get("_name") if isinstance(cfg, Mapping | DictConfig) else getattr(cfg, "task", None))
    kind = TASK_REGISTRY.get(name)
    if kind is None or kind.__module__.partition(".")[0] != "fairseq":
        return original(cfg, **options)
    with of_task(name):
        task = original(cfg, **options)
    load = task.load_dataset

    def load_dataset(*arguments: Any, **more: Any) -> Any:
        with of_task(name):
            return load(*arguments, **more)

    task.load_dataset = load_dataset
    return task


@contextlib.contextmanager
def of_task(name: str) -> Iterator[None]:
    """Name a task of fairseq in the errors of its setup and of its data that a user can fix."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        what = f"{error.filename}: no such file" if error.filename else str(error)
        raise UserError(f"--task {name}: {what}; check its data folder") from error
    except Exception as error:
        if type(error) not in (Exception, AssertionError) or not str(error):  # others may be defects
            raise
        raise UserError(f"--task {name}: {error}") from error


def checked_defaults(original: Callable, cfg: Any) -> None:
    """Complete the configuration of a run, then check it: fairseq does so before it writes anything."""
    original(cfg)
    lift_limits(cfg.dataset)
    unavailable.check(cfg)
    precision.check(cfg)
    check_parts(cfg)
    check_numbers(cfg)
    check_start(cfg.checkpoint)


def lift_limits(dataset: Any) -> None:
    """Replace -1, fairseq's "no limit" of the size of a batch, by a large number, which every task understands."""
    for name in BATCHES:
        if dataset.get(name) == -1:
            dataset[name] = UNLIMITED


def check_parts(cfg: Any) -> None:
    """Check the task, model and criterion of a configuration; see :func:`check_names`."""
    names = {kind: OmegaConf.select(cfg, f"{kind}._name") for kind in ("task", "model", "criterion")}
    check_names(names["task"], names["model"], names["criterion"])


def check_names(task: str | None, model: str | None, criterion: str | None) -> None:
    """Check that the model and the criterion of a run are not for another task of this package.

    The attribute ``takes`` of a task names those of this package that it takes. fairseq's own are refused only if they
    are of a kind in the task's attribute ``strict``; those of a user's plugin, and its tasks, are not checked.
    A task of fairseq takes the models of this package that :data:`TASKS` lists for it.

    Raises:
        UserError: names the flag and the possible values.
    """
    from plugins.checkpoints.options import registries  # imports fairseq, which import_fairseq must do first

    known = registries()
    # vars: a user's task inherits the methods of its parent, not these names
    own = vars(known["task"].get(task or "", object))
    for kind, given, name in (("model", "--arch", model), ("criterion", "--criterion", criterion)):
        names = own.get("takes", {}).get(kind, ())
        found = known[kind].get(name or "")
        checked = ("plugins", "fairseq") if kind in own.get("strict", ()) else ("plugins",)
        if found is None or not names or found.__module__.partition(".")[0] not in checked:
            continue
        if not issubclass(found, tuple(known[kind][other] for other in names)):
            raise UserError(f"{given} {name} is not for --task {task}, which takes {' or '.join(names)}")
    used, arch = known["task"].get(task or ""), known["model"].get(model or "")
    if used is None or arch is None or arch.__module__.partition(".")[0] != "plugins":
        return
    if used.__module__.startswith("fairseq.tasks."):
        for name, (usual, others) in TASKS.items():
            takes = tuple(known["task"][other] for other in others)
            if issubclass(arch, known["model"][name]) and not issubclass(used, takes):
                raise UserError(f"--arch {model} is not for --task {task}; train it with --task {usual}")


def check_run(cfg: Any, criterion: Any) -> None:
    """Check the options of a run of ``fairseq-train``.

    Raises:
        UserError: names the flag, its value, and the possible ones.
    """
    check_numbers(cfg)
    check_start(cfg.checkpoint)
    if OmegaConf.select(cfg, "optimizer") is None:  # models of fairseq have no default
        raise UserError("--optimizer is missing, and the model has no default: for example, --optimizer adam")
    if not cfg.dataset.disable_validation and hasattr(criterion, "validation_metrics"):
        check_metric(cfg.checkpoint.best_checkpoint_metric, criterion.validation_metrics())


def check_numbers(cfg: Any) -> None:
    """Raise a UserError for a number that is out of range."""
    for section, options in LEAST.items():
        for name, least in options.items():
            value = OmegaConf.select(cfg, f"{section}.{name}")
            if isinstance(value, int | float) and value < least:
                raise UserError(f"{flag(name)} must be at least {least}, but is {value}")
    for section, options in MOST.items():
        for name, most in options.items():
            value = OmegaConf.select(cfg, f"{section}.{name}")
            if isinstance(value, int | float) and value > most:
                raise UserError(f"{flag(name)} must be at most {most}, but is {value}")
    if OmegaConf.select(cfg, "common.seed", default=0) > LARGEST_SEED:
        raise UserError(f"--seed must be at most {LARGEST_SEED}, but is {cfg.common.seed}")
    for number in cfg.optimization.update_freq:
        if number < 1:
            raise UserError(f"--update-freq must be at least 1, but is {number}")
    check_schedule(OmegaConf.select(cfg, "lr_scheduler"), OmegaConf.select(cfg, "optimization.max_update"))
    for section in (part for part in cfg.values() if isinstance(part, DictConfig)):
        for name, value in cast(dict[str, Any], OmegaConf.to_container(section, resolve=False)).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{flag(name)} must be a finite number, but is {value}")
    if not all(math.isfinite(rate) and rate >= 0 for rate in cfg.optimization.lr):
        raise UserError(f"--lr {list(cfg.optimization.lr)}: learning rates are finite numbers of at least 0")


def check_schedule(scheduler: Any, updates: int | None) -> None:
    """Raise a UserError for a schedule that divides by zero, or whose length is unknown."""
    if not OmegaConf.is_dict(scheduler):
        return
    name, warmup = scheduler.get("_name"), scheduler.get("warmup_updates")
    if name == "inverse_sqrt" and warmup == 0:
        raise UserError("--warmup-updates 0: --lr-scheduler inverse_sqrt needs at least 1")
    if name == "cosine" and scheduler.get("lr_period_updates", -1) <= 0:
        if updates == 0:
            raise UserError("--max-update 0: --lr-scheduler cosine needs a number of updates; fixed needs none")
        if updates is not None and updates == warmup:
            raise UserError(f"--warmup-updates {warmup}: --lr-scheduler cosine needs fewer than --max-update {updates}")


def check_start(checkpoint: Any) -> None:
    """Raise a UserError if the checkpoint to start training from does not exist.

    The default of ``--restore-file`` may be missing: training then starts from the beginning.
    """
    if not checkpoint.save_dir:
        raise UserError("--save-dir is empty; name a folder to write to")
    path = checkpoint.restore_file.replace(".pt", f"{checkpoint.checkpoint_suffix}.pt")
    if checkpoint.restore_file != DEFAULT_RESTORE and not os.path.exists(path):
        raise UserError(f"--restore-file {path}: no such checkpoint")
    if checkpoint.restore_file != DEFAULT_RESTORE and os.path.isdir(path):
        raise UserError(f"--restore-file {path}: a folder; name the checkpoint file, or resume with --save-dir {path}")
    path = checkpoint.finetune_from_model
    if path and not os.path.exists(path) and not os.path.exists(os.path.join(checkpoint.save_dir, DEFAULT_RESTORE)):
        raise UserError(f"--finetune-from-model {path}: no such checkpoint")
    if path and os.path.isdir(path):
        from plugins.checkpoints import find_checkpoint  # imports fairseq, which import_fairseq must do first

        checkpoint.finetune_from_model = find_checkpoint(path)


def check_metric(name: str, known: Collection[str]) -> None:
    """Raise a UserError if validation does not log the metric that chooses the best checkpoint."""
    if name not in known:
        raise UserError(f"--best-checkpoint-metric {name}: validation logs {', '.join(sorted(known))}")


def checked_stats(original: Callable, cfg: Any, trainer: Any, stats: dict, tracking_best: bool) -> dict:
    """Return the statistics of a validation; an unknown metric is named with those that were logged."""
    check_metric(cfg.checkpoint.best_checkpoint_metric, {*stats, "num_updates"})
    return original(cfg, trainer, stats, tracking_best)


def check_lists(given: Mapping[str, str]) -> None:
    """Check options of the command line that are a number or a list of numbers.

    Args:
        given: {option: its value, as text}.

    Raises:
        UserError: one is neither.
    """
    for name, kind in LISTS.items():
        if name not in given:
            continue
        try:
            value = ast.literal_eval(given[name])
            [kind(number) for number in (value if isinstance(value, (list, tuple)) else [value])]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise UserError(
                f"{flag(name)} {shown(given[name])}: a number or a list is expected, for example 2,1"
            ) from None
