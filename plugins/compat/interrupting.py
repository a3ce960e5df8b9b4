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

from .patching import repaired, wrap

STATUS = 128 + signal.SIGTERM  # as a shell reports it


def install() -> None:
    """Put the repair in place; it has to enclose all others of ``call_main``."""
    from fairseq.distributed import utils as distributed_utils

    wrap(distributed_utils, "call_main", report_termination)
    repaired("SIGTERM", f"ends a run with one line and status {STATUS}, after temporary files are removed")


def report_termination(original: Callable, cfg: Any, main: Callable, **kwargs: Any) -> Any:
    """Run the training; let SIGTERM unwind it like Ctrl-C.

    Not with several processes: one that waits for another in a collective operation handles no signal.
    """
    received = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    usual = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not usual or several_processes(cfg):
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


def several_processes(cfg: Any) -> bool:
    """Return whether a run has several processes: by its options, or started by torchrun or srun."""
    sizes = [os.environ.get(name, "1") for name in ("WORLD_SIZE", "SLURM_NTASKS")]
    return cfg.distributed_training.distributed_world_size > 1 or any(size != "1" for size in sizes)
