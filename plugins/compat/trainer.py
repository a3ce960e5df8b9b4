"""Checks before training starts, runs that are finished, and validation on the training set.

Defects: a process that does not find the checkpoint that the others resume from starts anew; with the training set
among ``--valid-subset``, validation and training share one iterator, which validation exhausts.
A run that reached ``--max-update`` makes another update, and writes its checkpoint, whenever its command is repeated.
Diverged training, and a checkpoint of another model, end in tracebacks.
"""

import copy
import functools
import logging
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from omegaconf import open_dict

from plugins.errors import UserError, find_user_error, shortened

from . import allocator, optimizers, precision, preflight, sharding
from .patching import repaired, wrap

logger = logging.getLogger(__name__)


def install() -> None:
    """Apply the repairs of this file, and record them."""
    from fairseq import trainer
    from fairseq.trainer import Trainer

    wrap(Trainer, "__init__", checked_trainer)
    wrap(Trainer, "get_valid_iterator", get_valid_iterator)
    wrap(Trainer, "train_step", train_step)
    wrap(Trainer, "load_checkpoint", load_checkpoint)
    # Its backward hooks fail on modules that return None besides tensors
    setattr(trainer, "NanDetector", functools.partial(trainer.NanDetector, backward=False))  # noqa: B010
    program = training_program()
    if program is not None:
        wrap(program, "train", train)
        repaired("finished runs", "with --max-update make no further update when their command is repeated")
    repaired("divergence", "loss or gradients that are not finite end a run with one line")
    repaired("--valid-subset train", "reads the training set through a separate iterator")
    repaired("several workers", "each reads the checkpoint; fairseq would send options that the safe reader refuses")


def training_program() -> ModuleType | None:
    """Return the module of ``fairseq-train`` if that runs, also as ``python -m``; an import would configure logging."""
    main = sys.modules.get("__main__")
    runs = getattr(getattr(main, "__spec__", None), "name", None) == "fairseq_cli.train"
    return main if runs else sys.modules.get("fairseq_cli.train")


def checked_trainer(
    original: Callable,
    self: Any,
    cfg: Any,
    task: Any,
    model: torch.nn.Module,
    criterion: Any,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Check a configuration before the trainer is built."""
    precision.check(cfg)
    preflight.check_run(cfg, criterion)
    sharding.prepare(cfg)
    check_checkpoint_is_shared(cfg.checkpoint)
    precision.set_matmul_precision(cfg)
    if cfg.common.cpu or not torch.cuda.is_available():
        allocator.keep_freed_memory()
    with open_dict(cfg):
        cfg.checkpoint.load_checkpoint_on_all_dp_ranks = True
        if getattr(cfg.optimizer, "_name", None) in optimizers.GROUPED:
            cfg.common.fp16_no_flatten_grads = True  # in one flat vector, matrices and biases cannot be distinguished
    return original(self, cfg, task, model, criterion, *args, **kwargs)


def train(original: Callable, cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Train for an epoch, unless ``--max-update`` was reached before."""
    done, most = trainer.get_num_updates(), cfg.optimization.max_update
    if most and done >= most:
        logger.info("nothing to train: the checkpoint has %d updates; raise --max-update %d to continue", done, most)
        return [None], True
    return original(cfg, trainer, *args, **kwargs)


def train_step(original: Callable, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Make an update.

    Raises:
        UserError: the loss or the gradients are not finite.
        FloatingPointError: fairseq's own, if the gradients differ between workers.
    """
    try:
        return original(self, *args, **kwargs)
    except FloatingPointError as error:
        if "inconsistent between workers" in str(error):  # not divergence; the text lists the norm of each worker
            raise
        raise UserError(
            f"training diverged at update {self.get_num_updates() + 1} ({shortened(str(error))}): lower --lr, give "
            "more --warmup-updates, or limit the gradients (--clip-norm 1)"
        ) from error


def load_checkpoint(original: Callable, self: Any, filename: str, *args: Any, **kwargs: Any) -> Any:
    """Load a checkpoint.

    Raises:
        UserError: it is one of another model.
    """
    try:
        return original(self, filename, *args, **kwargs)
    except Exception as error:
        if not str(error).startswith("Cannot load model parameters") or find_user_error(error) is not None:
            raise
        detail = shortened(str(error.__context__ or error))
        raise UserError(f"{filename}: its weights do not fit this model ({detail})") from error


def get_valid_iterator(original: Callable, self: Any, subset: str, disable_iterator_cache: bool = False) -> Any:
    """Return an iterator for validation; the training set is validated through a copy with its own epoch counter."""
    datasets, training = self.task.datasets, self.task.datasets.get(subset)
    if subset != self.cfg.dataset.train_subset or training is None:
        return original(self, subset, disable_iterator_cache)
    source, twin = getattr(self, "_validated_training_set", (None, None))
    if source is not training:  # a new one is loaded for each epoch of sharded data
        twin = copy.copy(training)
        self._validated_training_set = training, twin
    datasets[subset] = twin
    try:
        return original(self, subset, disable_iterator_cache)
    finally:
        datasets[subset] = training


def check_checkpoint_is_shared(checkpoint: Any) -> None:
    """Refuse to resume where only some processes find the checkpoint: each reads it, and one without starts anew.

    Raises:
        UserError: names the checkpoint and the ranks that do not see it.
    """
    from fairseq.distributed import utils

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    path = checkpoint.restore_file
    if path == preflight.DEFAULT_RESTORE:
        path = os.path.join(checkpoint.save_dir, path)
    path = path.replace(".pt", f"{checkpoint.checkpoint_suffix}.pt")
    found = utils.all_gather_list(os.path.exists(path))
    if any(found) and not all(found):
        blind = ", ".join(str(rank) for rank, sees in enumerate(found) if not sees)
        raise UserError(
            f"{path}: rank {blind} does not see the checkpoint that the others resume from; put --save-dir on a file "
            "system that all machines share"
        )
