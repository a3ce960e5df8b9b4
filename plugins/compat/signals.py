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

from plugins.errors import was_interrupted

from .launchers import find_launch
from .patching import repaired, wrap

STATUS = 128 + signal.SIGTERM  # as a shell reports it


def install() -> None:
    """Put the repair in place; it has to enclose all others of ``call_main``."""
    from fairseq.distributed import utils as distributed_utils

    wrap(distributed_utils, "call_main", report_termination)
    train = sys.modules.get("fairseq_cli.train")  # importing it would configure logging
    if train is not None:
        wrap(train, "add_defaults", handle_late)
    repaired("SIGTERM", f"ends a run with one line and status {STATUS}, after temporary files are removed")


def report_termination(original: Callable, cfg: Any, main: Callable, **kwargs: Any) -> Any:
    """Run the training; let SIGTERM unwind it like Ctrl-C."""
    if not applies(cfg):
        return original(cfg, main, **kwargs)
    received: list[int] = []
    stop = handler(received)
    signal.signal(signal.SIGTERM, stop)
    try:
        return original(cfg, main, **kwargs)
    except BaseException as error:  # also an error of a block that the signal left halfway
        if not received or not was_interrupted(error):
            raise
        print("interrupted", file=sys.stderr, flush=True)
        sys.exit(STATUS)
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def handle_late(original: Callable, cfg: Any) -> None:
    """Complete the options of a run; then handle SIGTERM, if hydra imported the package within ``call_main``."""
    original(cfg)
    if started_by_hydra() and applies(cfg):
        signal.signal(signal.SIGTERM, handler([]))


def handler(received: list[int]) -> Callable[[int, FrameType | None], None]:
    """Return a handler of a signal that appends its number to a list and raises KeyboardInterrupt.

    A second signal ends the process, since Python ignores an exception that is raised in a ``__del__`` method. A forked
    process inherits the handler, and is ended by its first signal.
    """
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own:
            os.kill(os.getpid(), number)
        received.append(number)
        raise KeyboardInterrupt

    return stop


def applies(cfg: Any) -> bool:
    """Return whether SIGTERM is handled: if it has its default action, and this is the main thread of a single process.

    Several processes are not supported, because a process that waits in a collective operation runs no handlers. With
    ``suppress_crashes`` the exception would be ignored, and ``fairseq-hydra-train`` would start the next run.
    """
    in_main = threading.current_thread() is threading.main_thread()
    usual = in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return usual and not cfg.common.suppress_crashes and not several(cfg)


def started_by_hydra() -> bool:
    """Return whether this is a run of ``fairseq-hydra-train``, rather than of another program that uses hydra."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    return hydra is not None and hydra.HydraConfig.initialized() and "fairseq_cli.hydra_train" in sys.modules


def several(cfg: Any) -> bool:
    """Return whether a run has several processes, by its options or started by torchrun or srun.

    Raises:
        UserError: a variable of the launcher is missing or not a number.
    """
    options = cfg.distributed_training
    if options.distributed_init_method is None:
        if find_launch() is not None:
            return True
        if cfg.common.cpu or not torch.cuda.is_available():
            return False  # the default of --distributed-world-size counts the GPUs
    return options.distributed_world_size > 1
