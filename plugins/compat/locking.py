"""One training run at a time in a ``--save-dir``.

Defect: two runs in one folder overwrite and delete each other's checkpoints; fairseq only tests whether it can write.
"""

from collections.abc import Callable
from typing import Any

from plugins import locks

from .patching import repaired, wrap

_saves = True  # whether the run that starts now writes checkpoints


def install() -> None:
    """Put the repair in place."""
    from fairseq import checkpoint_utils
    from fairseq.distributed import utils as distributed_utils

    wrap(distributed_utils, "call_main", release_after)
    wrap(checkpoint_utils, "verify_checkpoint_directory", lock_save_dir)
    repaired("--save-dir", "is locked while a run writes to it; a second run fails with an error that names the first")


def release_after(original: Callable, cfg: Any, main: Callable, **kwargs: Any) -> Any:
    """Release the lock when the run ends: with hydra's multirun, a process makes several."""
    global _saves
    _saves = not cfg.checkpoint.no_save
    try:
        return original(cfg, main, **kwargs)
    finally:
        _saves = True
        locks.release_training()


def lock_save_dir(original: Callable, save_dir: str) -> None:
    """Lock the folder, which tests that it can be written. fairseq calls this in the first worker, before it writes.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    if _saves:
        locks.lock_for_training(save_dir)
