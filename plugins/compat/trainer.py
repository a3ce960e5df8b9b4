"""Checks before training starts, and validation on the training set.

Defects: half precision without a GPU ends in an assertion of CUDA; several processes on a CPU train separate copies;
with the training set among ``--valid-subset``, validation and training share one iterator, which validation exhausts.
"""

import copy
import os
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import open_dict

from plugins.errors import UserError

from . import preflight
from .patching import repaired, wrap


def install() -> None:
    from fairseq.trainer import Trainer

    wrap(Trainer, "__init__", checked_trainer)
    wrap(Trainer, "get_valid_iterator", get_valid_iterator)
    repaired("--valid-subset train", "reads the training set through a separate iterator")
    repaired("preflight", "half precision without a GPU, and torchrun on a CPU, end with an explanation")
    repaired("several workers", "each reads the checkpoint; fairseq would send options that the safe reader refuses")


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
    check_precision(cfg.common)
    check_world_size(cfg)
    preflight.check_run(cfg, criterion)
    with open_dict(cfg):
        cfg.checkpoint.load_checkpoint_on_all_dp_ranks = True
        if getattr(cfg.optimizer, "_name", None) == "fused_adamw":
            cfg.common.fp16_no_flatten_grads = True  # in one flat vector, matrices and biases cannot be distinguished
    return original(self, cfg, task, model, criterion, *args, **kwargs)


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


def check_precision(common: Any) -> None:
    """Raise an error for half precision without a GPU.

    Raises:
        UserError: names the flag.
    """
    if common.cpu or not torch.cuda.is_available():
        why = "--cpu was given" if common.cpu else "torch sees no GPU"
        for flag in ("fp16", "memory_efficient_fp16", "bf16", "memory_efficient_bf16", "amp"):
            if getattr(common, flag, False):
                raise UserError(f"--{flag.replace('_', '-')} needs a GPU, and {why}; leave it out to train in float32")


def check_world_size(cfg: Any) -> None:
    """Raise an error instead of training separate copies.

    Raises:
        UserError: a launcher started several processes, and fairseq sees one.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > 1 and cfg.distributed_training.distributed_world_size == 1:
        raise UserError(
            f"{launched} processes were launched, but fairseq sees one and each would train a separate copy; on a "
            "CPU give every process --distributed-world-size, --distributed-rank, --distributed-no-spawn, "
            "--distributed-init-method file://..., --distributed-backend gloo and --ddp-backend legacy_ddp"
        )
