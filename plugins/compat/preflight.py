"""Check, before the first update, options that fairseq checks late or never.

Defects: ``--update-freq 0`` and ``--log-interval 0`` divide by zero; ``--restore-file`` with a missing file trains from
random weights; the name in ``--best-checkpoint-metric`` is looked up after the first validation, as a KeyError.

Reported: https://github.com/facebookresearch/fairseq/issues/3881 (``--best-checkpoint-metric``).
"""

import ast
import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from plugins.errors import UserError, shown

from . import precision, unavailable
from .patching import repaired, wrap

DEFAULT_RESTORE = "checkpoint_last.pt"
LISTS = {"lr": float, "update_freq": int}  # options that are a number, or a list with one for each epoch


def install() -> None:
    """Put the repairs in place."""
    train = sys.modules.get("fairseq_cli.train")  # importing it would configure logging
    if train is not None:
        wrap(train, "get_valid_stats", checked_stats)
        wrap(train, "add_defaults", checked_defaults)
    repaired("late errors", "bad numbers, a missing --restore-file and an unknown metric are found before training")


def checked_defaults(original: Callable, cfg: Any) -> None:
    """Complete the configuration of a run, then check it: fairseq does so before it writes anything."""
    original(cfg)
    unavailable.check(cfg)
    precision.check(cfg)
    check_numbers(cfg)
    check_start(cfg.checkpoint)


def check_run(cfg: Any, criterion: Any) -> None:
    """Check the options of a run of ``fairseq-train``.

    Raises:
        UserError: names the flag, its value, and the possible ones.
    """
    check_numbers(cfg)
    check_start(cfg.checkpoint)
    if not cfg.dataset.disable_validation and hasattr(criterion, "validation_metrics"):
        check_metric(cfg.checkpoint.best_checkpoint_metric, criterion.validation_metrics())


def check_numbers(cfg: Any) -> None:
    """Raise a UserError for a number that is out of range."""
    check_positive("--log-interval", [cfg.common.log_interval])
    check_positive("--update-freq", cfg.optimization.update_freq)
    for section in (part for part in cfg.values() if isinstance(part, DictConfig)):
        for name, value in cast(dict[str, Any], OmegaConf.to_container(section, resolve=False)).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"--{name.replace('_', '-')} must be a finite number, but is {value}")
    if not all(math.isfinite(rate) and rate >= 0 for rate in cfg.optimization.lr):
        raise UserError(f"--lr {list(cfg.optimization.lr)}: learning rates are finite numbers of at least 0")


def check_positive(flag: str, numbers: Collection[int]) -> None:
    """Raise a UserError unless all numbers are at least 1."""
    for number in numbers:
        if number < 1:
            raise UserError(f"{flag} must be at least 1, but is {number}")


def check_start(checkpoint: Any) -> None:
    """Raise a UserError if the checkpoint to start training from does not exist.

    The default of ``--restore-file`` may be missing: training then starts from the beginning.
    """
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
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} {shown(given[name])}: a number or a list is expected, for example 2,1") from None
