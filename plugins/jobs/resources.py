"""Resources of jobs: launcher, jobs at a time, threads, GPUs, memory."""

import os
import queue
from dataclasses import dataclass
from pathlib import Path

import torch

from plugins.errors import UserError

LAUNCHERS = ("local", "submitit")
BYTES_PER_PARAMETER = 20  # weights, gradients, two moments, activations of a small batch
BYTES_PER_PROCESS = 1.2e9  # memory of a process without a model


@dataclass(frozen=True)
class Resources:
    """Resources of jobs.

    Attributes:
        at_a_time: how many jobs run at a time (for submitit: how many are submitted at a time).
        threads: CPU threads of each job.
        cpu: train on the CPU even if there are GPUs.
        launcher: ``local``: child processes of this one; ``submitit``: jobs of a cluster.
        partition: SLURM partition (default: the cluster's).
        gpus_per_job: GPUs of each submitted job; fairseq multiplies the batch by their number.
        timeout_min: time limit of each submitted job in minutes; a job that exceeds it is resumed up to three times.
        mem_gb: memory of each submitted job in GB (default: the cluster's).
    """

    at_a_time: int = 1
    threads: int = 1
    cpu: bool = False
    launcher: str = "local"
    partition: str | None = None
    gpus_per_job: int = 0
    timeout_min: int = 24 * 60
    mem_gb: float | None = None

    def __post_init__(self) -> None:
        if self.launcher not in LAUNCHERS:
            raise UserError(f"--launcher {self.launcher}: choose one of {', '.join(LAUNCHERS)}")
        for name in ("at_a_time", "threads", "timeout_min"):
            if getattr(self, name) < 1:
                flag = "jobs" if name == "at_a_time" else name.replace("_", "-")
                raise UserError(f"--{flag} must be at least 1, but is {getattr(self, name)}")
        if self.gpus_per_job < 0:
            raise UserError(f"--gpus-per-job must be at least 0, but is {self.gpus_per_job}")

    @property
    def on_cpu(self) -> bool:
        """Whether jobs train on the CPU: on request, or because no GPU is available."""
        return self.cpu or (self.gpus_per_job == 0 if self.launcher == "submitit" else not torch.cuda.is_available())


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, ``cuda:0`` first, by their names in ``CUDA_VISIBLE_DEVICES``."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in named.split(",")][:count] if named else [str(i) for i in range(count)]


def devices(jobs: int, cpu: bool = False) -> queue.SimpleQueue:
    """Return a queue with a device for each of ``jobs`` at a time: the GPUs in turn, or ``cpu`` if there are none.

    fairseq takes every GPU it sees and multiplies the batch by their number, so jobs that are compared get one each.
    """
    gpus = 0 if cpu else len(visible_gpus())
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for i in range(jobs):
        free.put(f"cuda:{i % gpus}" if gpus else "cpu")
    return free


def how_many(parameters: int, threads: int = 1, cpu: bool = False) -> int:
    """Return how many jobs fit at a time: one per GPU, else what cores and free memory allow.

    Args:
        parameters: parameters of the model that each job trains.
        threads: CPU threads of each job.
        cpu: leave GPUs unused.
    """
    gpus = 0 if cpu else len(visible_gpus())
    if gpus:
        return gpus
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    need = BYTES_PER_PROCESS + BYTES_PER_PARAMETER * parameters
    return max(1, min(cores // threads, int(free_memory() // need)))


def free_memory() -> float:
    """Return the available memory in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2
