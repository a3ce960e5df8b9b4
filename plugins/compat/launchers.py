"""Environment variables that torchrun and SLURM's srun set in the processes that they start."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from plugins.errors import UserError, shown

TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """One of several processes of a run.

    Attributes:
        size: number of processes that the launcher started, on all machines.
        rank: number of this one, from 0.
        nodes: host names in SLURM's short form; empty for torchrun.
        machines: number of machines according to SLURM; 1 for torchrun.
        port: port of rank 0 that the others connect to.
    """

    size: int
    rank: int
    port: int
    nodes: str = ""
    machines: int = 1

    def address(self) -> str:
        """Return what ``torch.distributed.init_process_group`` takes as ``init_method``.

        Raises:
            UserError: SLURM's ``scontrol``, which expands the list of hosts, cannot be run.
        """
        if not self.nodes:
            return "env://"
        return f"tcp://{'127.0.0.1' if self.machines == 1 else first_host(self.nodes)}:{self.port}"


def find_launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return how this process was launched, or None if it is the only one.

    Raises:
        UserError: a variable is missing or not a number.
    """
    size = number(environment, "WORLD_SIZE", 1)
    if size > 1:
        missing = [name for name in TORCHRUN if not environment.get(name)]
        if missing:
            raise UserError(
                f"WORLD_SIZE={size}, but {', '.join(missing)} not set: start the processes with torchrun, which sets "
                "all, or unset WORLD_SIZE to train in this process alone"
            )
        return Launch(size, number(environment, "RANK"), number(environment, "MASTER_PORT"))
    # SLURM_NTASKS is set in a batch script too, which runs once; the variables of a step only where srun starts tasks.
    size = number(environment, "SLURM_STEP_NUM_TASKS", 1)
    if size == 1:
        return None
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "localhost")
    # Each task derives the same port from the job; two jobs on one machine get different ones.
    port = number(environment, "MASTER_PORT", 10000 + number(environment, "SLURM_JOB_ID", 0) % 50000)
    machines = number(environment, "SLURM_STEP_NUM_NODES", number(environment, "SLURM_NNODES", 1))
    return Launch(size, number(environment, "SLURM_PROCID"), port, nodes, machines)


def first_host(nodes: str) -> str:
    """Return the first host of a list in SLURM's short form, such as ``node[01-02]``.

    Raises:
        UserError: ``scontrol`` cannot be run, or refuses the list.
    """
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        hosts = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"`scontrol show hostnames {nodes}` fails ({error}); start with torchrun instead") from error
    if not hosts:
        raise UserError(f"`scontrol show hostnames {nodes}` lists no host; start with torchrun instead")
    return hosts[0]


def number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Return a variable that is a whole number.

    Raises:
        UserError: it is missing and has no default, or is not a number.
    """
    value = environment.get(name) or default
    if value is None or not str(value).isdecimal():
        raise UserError(f"the environment variable {name} must be a whole number, but is {shown(value)}")
    return int(value)
