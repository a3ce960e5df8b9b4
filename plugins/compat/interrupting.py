"""SIGTERM during training, as sent by ``kill``, job schedulers and time limits.

Defect: Python ends at once and in silence: the log does not say why it stops, and temporary files, the lock of the save
directory and helper processes are left.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from .patching import repaired, wrap

STATUS = 128 + signal.SIGTERM  # as a shell reports it


def install() -> None:
    """Put the repair in place; it has to enclose all others of ``call_main``."""
    from fairseq.distributed import utils as distributed_utils

    wrap(distributed_utils, "call_main", report_termination)
    if started_by_hydra() and usual():  # which imports the package within call_main
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    repaired("SIGTERM", f"ends a run with one line and status {STATUS}, after temporary files are removed")


def report_termination(original: Callable, cfg: Any, main: Callable, **kwargs: Any) -> Any:
    """Run the training; let SIGTERM unwind it like Ctrl-C.

    Not with several processes: one that waits for another in a collective operation handles no signal.
    """
    received = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if not usual() or several(cfg.distributed_training.distributed_world_size):
        return original(cfg, main, **kwargs)
    own = os.getpid()
    signal.signal(signal.SIGTERM, stop)
    try:
        return original(cfg, main, **kwargs)
    except BaseException:  # also an error of a block that the signal left halfway
        if not received or os.getpid() != own:
            raise
        print("interrupted", file=sys.stderr, flush=True)
        sys.exit(STATUS)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def usual() -> bool:
    """Return whether SIGTERM still ends this process, and whether this thread can change that."""
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def started_by_hydra() -> bool:
    """Return whether this is a run of ``fairseq-hydra-train`` with one process."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    return hydra is not None and hydra.HydraConfig.initialized() and not several(world_size())


def world_size() -> int:
    """Return the number of processes that ``call_main`` has connected."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def several(processes: int) -> bool:
    """Return whether a run has several processes: by this option, or started by torchrun or srun."""
    sizes = [os.environ.get(name, "1") for name in ("WORLD_SIZE", "SLURM_NTASKS")]
    return processes > 1 or any(size != "1" for size in sizes)
