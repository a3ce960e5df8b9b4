"""Choose the best checkpoint, and stop training when the score no longer improves.

Defects: of equal scores fairseq keeps the last, and ties are common with small validation sets; there is no minimum
improvement; ``--patience`` starts again at each resume; a first score that is not a number stays the best;
two runs in one process share the best score.

Reported: https://github.com/facebookresearch/fairseq/issues/3531 (``--patience`` after a resume).
"""

import logging
import math
import sys
from collections.abc import Callable
from typing import Any

from .patching import repaired, wrap

logger = logging.getLogger(__name__)

KEY = "early_stopping"  # in the extra_state of a checkpoint
PATIENCE: dict = {"best": None, "num_runs": 0}  # state of the run in this process


def install() -> None:
    """Apply the repairs of this file, and record them."""
    from fairseq import checkpoint_utils
    from fairseq.trainer import Trainer

    wrap(checkpoint_utils, "save_checkpoint", save_checkpoint)
    wrap(Trainer, "__init__", start_run)
    wrap(Trainer, "save_checkpoint", store)
    wrap(Trainer, "load_checkpoint", restore)
    repaired(
        "checkpoint_best.pt", "the first of equal ones is kept; --min-delta is the minimum improvement that counts"
    )
    repaired("--patience", "survives a resume")


def improves(score: float, best: float | None, maximize: bool, min_delta: float = 0.0) -> bool:
    """Return whether a score is better than the best one by more than ``min_delta``; any number is better."""
    if best is None or math.isnan(best):
        return not math.isnan(score)
    return score > best + min_delta if maximize else score < best - min_delta


def start_run(original: Callable, self: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
    """Forget the scores of an earlier run in this process, and let ``fairseq-train`` stop by our rules."""
    from fairseq import checkpoint_utils

    PATIENCE.update(best=None, num_runs=0)
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    program = sys.modules.get("fairseq_cli.train")
    if program is not None and not hasattr(program.should_stop_early, "__wrapped__"):
        wrap(program, "should_stop_early", should_stop_early)
    return original(self, cfg, *args, **kwargs)


def min_delta_of(cfg: Any) -> float:
    """Return the option ``--min-delta`` of the task, 0 for foreign tasks."""
    return float(getattr(cfg.task, "min_delta", None) or 0.0)


def save_checkpoint(original: Callable, cfg: Any, trainer: Any, epoch_itr: Any, val_loss: float | None) -> Any:
    """Save like fairseq, but replace ``checkpoint_best.pt`` only by a better one.

    fairseq compares with ``save_checkpoint.best`` and counts an equal score as better. While it saves, this attribute
    is therefore set one step beyond any score that is not a sufficient improvement.
    """
    from fairseq import checkpoint_utils

    function, maximize = checkpoint_utils.save_checkpoint, cfg.maximize_best_checkpoint_metric
    best = getattr(function, "best", None)
    if val_loss is None or improves(val_loss, best, maximize, min_delta_of(trainer.cfg)):
        vars(function).pop("best", None)  # so that fairseq does not compare with NaN
        if val_loss is None and best is not None:
            function.best = best
        return original(cfg, trainer, epoch_itr, val_loss)
    if best is None:  # the first score is not a number: save the checkpoint, but let any number be better
        return original(cfg, trainer, epoch_itr, None)
    beyond = max(best, val_loss) if maximize else min(best, val_loss)
    function.best = math.nextafter(beyond, math.inf if maximize else -math.inf)
    trainer.true_best = best
    try:
        return original(cfg, trainer, epoch_itr, val_loss)
    finally:
        function.best = best
        del trainer.true_best


def should_stop_early(original: Callable, cfg: Any, valid_loss: float | None) -> bool:
    """Return whether the last ``--patience`` validations did not improve the best score."""
    if valid_loss is None or cfg.checkpoint.patience <= 0:
        return False
    if improves(valid_loss, PATIENCE["best"], cfg.checkpoint.maximize_best_checkpoint_metric, min_delta_of(cfg)):
        PATIENCE.update(best=float(valid_loss), num_runs=0)
        return False
    PATIENCE["num_runs"] += 1
    stop = PATIENCE["num_runs"] >= cfg.checkpoint.patience
    if stop:
        logger.info("early stop since valid performance hasn't improved for last %d runs", cfg.checkpoint.patience)
    return stop


def store(original: Callable, self: Any, filename: str, extra_state: dict[str, Any]) -> Any:
    """Put the state of ``--patience``, and the true best score, into a checkpoint."""
    extra_state = {**extra_state, KEY: dict(PATIENCE)}
    if hasattr(self, "true_best"):
        extra_state["best"] = self.true_best
    return original(self, filename, extra_state)


def restore(
    original: Callable, self: Any, filename: str, reset_optimizer: bool = False, *args: Any, **kwargs: Any
) -> dict[str, Any] | None:
    """Restore the state of ``--patience`` of a resumed run."""
    extra_state = original(self, filename, reset_optimizer, *args, **kwargs)
    saved = (extra_state or {}).get(KEY)
    if saved and not reset_optimizer:
        PATIENCE.update(best=saved.get("best"), num_runs=int(saved.get("num_runs") or 0))
    return extra_state
