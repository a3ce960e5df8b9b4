"""Several processes: started by torchrun or SLURM, on a CPU as on GPUs.

Defects: on a CPU fairseq divides by the number of GPUs, spawns one process per GPU (with no GPU it exits with status 0
and trains nothing), and gathers in buffers on a GPU; with one GPU per machine it ignores the launcher, and each process
trains a copy; the same random numbers are drawn in every process; a worker that ends leaves tracebacks of the others;
the position in an epoch counts the batches of one process, so that a run resumed with fewer processes repeats a part of
the epoch.

Reported: https://github.com/facebookresearch/fairseq/issues/2879 (several processes on a CPU).
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from omegaconf import open_dict

from plugins.errors import UserError, find_user_error, shown

from . import unavailable
from .launchers import Launch, find_launch
from .patching import repaired, wrap

LOST = re.compile(r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Socket", re.IGNORECASE)
CHILD_ERROR = re.compile(r"^plugins\.errors\.UserError: (.*)", re.MULTILINE)


def install() -> None:
    """Put the repairs in place."""
    from fairseq.data.iterators import EpochBatchIterator
    from fairseq.distributed import utils
    from fairseq.trainer import Trainer

    wrap(utils, "all_gather_list", all_gather_list)
    wrap(utils, "call_main", call_main)
    program = sys.modules.get("fairseq_cli.train")  # importing it would configure logging
    if program is not None:
        wrap(program, "add_defaults", join_late)
        wrap(program, "train", train)
    wrap(Trainer, "_set_seed", set_seed)
    wrap(EpochBatchIterator, "state_dict", position)
    wrap(EpochBatchIterator, "load_state_dict", move_to)
    repaired("gathering", "works on a CPU, too; fairseq gathers in buffers on a GPU")
    repaired("several processes", "torchrun and srun work on a CPU (gloo) and with one GPU per machine")
    repaired("position", "is kept when a run is resumed with another number of processes")
    repaired("random numbers", "differ between the processes of a run; fairseq draws the same dropout in each")


def all_gather_list(original: Callable, data: Any, group: Any = None, max_size: int = 16384) -> list:
    """Return the data of each worker, in the order of their ranks."""
    if torch.cuda.is_available() and torch.distributed.get_backend(group) != "gloo":
        return original(data, group=group, max_size=max_size)
    gathered = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(gathered, data, group=group)
    return gathered


def set_seed(original: Callable, self: Any) -> None:
    """Seed an update from ``--seed``, its number and, except in the first worker, the rank.

    The seed is a function of these three, so a resumed run draws the same numbers.
    """
    from fairseq import utils

    seed = self.cfg.common.seed + self.get_num_updates()
    if self.data_parallel_rank > 0:
        entropy = [abs(self.cfg.common.seed), self.get_num_updates(), self.data_parallel_rank]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    if self.cuda:
        utils.set_torch_seed(seed)
    else:  # fairseq would also have torch format three stack traces, for devices that may be initialized later
        torch.default_generator.manual_seed(seed)


def position(original: Callable, self: Any) -> dict:
    """Return the position in the data, with the number of processes that share it."""
    return {**original(self), "num_shards": self.num_shards}


def move_to(original: Callable, self: Any, state: dict) -> None:
    """Move to a position that may come from a run with another number of processes.

    Batch ``i`` of process ``r`` of ``n`` is batch ``i * n + r`` of the epoch. A position between two steps of all
    processes is rounded down: some batches are repeated, none is left out.
    """
    done = state.get("iterations_in_epoch", 0) * state.get("num_shards", self.num_shards)
    original(self, {**state, "iterations_in_epoch": done // self.num_shards})


def call_main(original: Callable, cfg: Any, main: Callable, **kwargs: Any) -> Any:
    """Run ``main`` in each process of a run.

    Raises:
        UserError: the options would train nothing, or separate copies; or another process of the run has ended.
    """
    prepare(cfg, os.environ)
    with explained(cfg):
        return original(cfg, main, **kwargs)


def train(original: Callable, cfg: Any, *args: Any, **kwargs: Any) -> Any:
    """Train for an epoch.

    Raises:
        UserError: another process of the run has ended.
    """
    with explained(cfg):
        return original(cfg, *args, **kwargs)


def join_late(original: Callable, cfg: Any) -> None:
    """Complete the options of a run, in processes that have not joined: join the others of the launcher.

    ``fairseq-hydra-train`` imports this package after it has decided how many processes there are.

    Raises:
        UserError: see :func:`prepare`.
    """
    from fairseq.distributed import utils

    if not torch.distributed.is_initialized():
        prepare(cfg, os.environ)
        if cfg.distributed_training.distributed_world_size > 1:
            if cfg.distributed_training.distributed_init_method is None:
                utils.infer_init_method(cfg.distributed_training)
            utils.distributed_init(cfg)
    original(cfg)


@contextmanager
def explained(cfg: Any) -> Iterator[None]:
    """Context that raises what :func:`explain` explains as a UserError."""
    try:
        yield
    except RuntimeError as error:
        explanation = explain(error, cfg.distributed_training.distributed_rank)
        if explanation is None:
            raise
        raise UserError(explanation) from error


def prepare(cfg: Any, environment: Mapping[str, str]) -> None:
    """Complete ``cfg.distributed_training`` from what a launcher left in the environment.

    Raises:
        UserError: names the flag or the variable.
    """
    options = cfg.distributed_training
    unavailable.check(cfg)
    if cfg.common.log_format is None:
        logging.getLogger("fairseq.distributed.utils").setLevel(logging.WARNING)  # two lines from each process
    on_cpu = cfg.common.cpu or not torch.cuda.is_available()
    launch = None if options.distributed_init_method is not None else find_launch(environment)
    with open_dict(options):
        if launch is not None:
            join(options, launch, on_cpu)
        elif on_cpu:
            check_cpu(options)
        if on_cpu:
            options.distributed_backend = "gloo"
            if options.distributed_world_size > 1 and options.ddp_backend in ("c10d", "pytorch_ddp"):
                options.ddp_backend = "legacy_ddp"  # fairseq passes GPU ids to torch's
    check_place(options.distributed_rank or 0, options.distributed_world_size)


def join(options: Any, launch: Launch, on_cpu: bool) -> None:
    """Set the options of a process that a launcher started."""
    options.distributed_world_size = launch.size
    if on_cpu:
        options.distributed_rank = launch.rank
        options.distributed_init_method = launch.address()
        options.distributed_no_spawn = True
        options.device_id = 0
    elif options.distributed_port <= 0:
        options.distributed_port = launch.port  # without one, fairseq takes SLURM's nodes for a single one


def check_cpu(options: Any) -> None:
    """Check a process on a CPU that no launcher started.

    Raises:
        UserError: fairseq would spawn one process for each GPU, that is, none.
    """
    size, address = options.distributed_world_size, options.distributed_init_method
    if address is None and size == max(1, torch.cuda.device_count()):
        options.distributed_world_size = 1  # the default counts the GPUs, which --cpu leaves alone
    elif address is None and size > 1:
        raise UserError(
            f"--distributed-world-size {size} starts no process on a CPU; leave it out and start the command with "
            f"`torchrun --nproc_per_node {size} $(which fairseq-train) ...`"
        )
    elif address is not None and not options.distributed_no_spawn:
        raise UserError(
            f"--distributed-init-method {shown(address)} starts no process on a CPU; add --distributed-no-spawn and "
            "start each process with its --distributed-rank, or leave it out and use torchrun"
        )


def check_place(rank: int, size: int) -> None:
    """Check the number of a process: fairseq starts none of 0, and a single one of rank 1 saves nothing.

    Raises:
        UserError: names the flag.
    """
    if size < 1:
        raise UserError(f"--distributed-world-size must be at least 1, but is {size}")
    if not 0 <= rank < size:
        raise UserError(f"--distributed-rank {rank} must be from 0 to {size - 1}, with --distributed-world-size {size}")


def explain(error: RuntimeError, rank: int | None) -> str | None:
    """Return in one line why a process of a run ended, or None if the error is its own."""
    if find_user_error(error) is not None:
        return None
    if isinstance(error, torch.multiprocessing.ProcessRaisedException):
        found = CHILD_ERROR.findall(str(error))
        return found[-1] if found else None
    if isinstance(error, torch.multiprocessing.ProcessExitedException):
        ended = f"signal {error.signal_name}" if error.signal_name else f"exit status {error.exit_code}"
        return f"the process of rank {error.error_index} ended with {ended}, and the others were stopped"
    if torch.distributed.is_initialized() and LOST.search(str(error)):
        return f"rank {rank} lost its connection: another process of the run has ended; resume from the last checkpoint"
    return None
