"""Which positions of a batch are predicted, found while it is collated.

A model that finds them itself has to wait for its GPU, because the shapes of later results depend on their number.
"""

from typing import Any

import numpy as np
import torch


def predicted(target: np.ndarray, pad: int) -> dict[str, Any]:
    """Describe the predicted positions of a batch.

    Args:
        target: (B, T), ``pad`` where nothing is predicted.
        pad: index of ``<pad>``.

    Returns:
        rows: (N,) their ascending indices into the B * T positions, or None if all are predicted.
        count: N.
        most: the largest number of them in a sequence.
    """
    chosen = target != pad
    counts = chosen.sum(axis=1)
    count = int(counts.sum())
    rows = None if count == target.size else torch.from_numpy(np.flatnonzero(chosen))
    return {"rows": rows, "count": count, "most": int(counts.max(initial=0))}
