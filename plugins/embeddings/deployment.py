"""Deploy a preference model: score labeled texts, and store a threshold in its checkpoint."""

from pathlib import Path

import numpy as np
import torch

from plugins import checkpoints
from plugins.data.preference import rows
from plugins.errors import UserError
from plugins.files import replacing
from plugins.hub import Scorer


def labeled_scores(scorer: Scorer, path: str, both: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (N,) and classes (N,), 0 or 1, of the texts in a file.

    Args:
        both: texts of both classes are needed.

    Raises:
        UserError: the columns text and score are missing, a score is not 0 or 1, or all have one class.
    """
    found = rows.read(path)
    if not found.rated or found.scores is None or not set(np.unique(found.scores)) <= {0.0, 1.0}:
        raise UserError(f"{path}: the columns text and score are needed, score being 1 or 0")
    if both and len(np.unique(found.scores)) < 2:
        raise UserError(
            f"{path}: the score of every text is {found.scores[0]:g}; a threshold needs texts of both classes"
        )
    return np.asarray(scorer.score(found.texts), np.float64), found.scores.astype(int)


def store_threshold(path: str | Path, threshold: dict) -> None:
    """Write a threshold into the task state of a checkpoint, and leave the rest unchanged.

    Raises:
        UserError: the checkpoint cannot be read or written.
    """
    state = checkpoints.read_state(path)
    state["task_state"] = (state.get("task_state") or {}) | {"threshold": threshold}
    with replacing(path) as part, open(part, "wb") as file:
        torch.save(state, file)
