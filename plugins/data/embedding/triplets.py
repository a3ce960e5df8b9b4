"""Files of hard triplets, ``hard_triplets.npy``: (T, 3) row numbers of anchors, positives and negatives."""

from pathlib import Path

import numpy as np

from plugins import numpy_files
from plugins.errors import UserError
from plugins.files import replacing

HARD = "hard_triplets.npy"


def read(path: str | Path, labels: np.ndarray) -> np.ndarray:
    """Return the triplets (T, 3) of a file.

    Args:
        labels: (N,) class ids of the rows that they name.

    Raises:
        UserError: the file is damaged, or contains triplets of other rows.
    """
    found, labels = numpy_files.read_npy(path), np.asarray(labels)
    fits = found.ndim == 2 and found.shape[1] == 3 and len(found) and found.dtype.kind in "iu"
    if fits and 0 <= found.min() and found.max() < len(labels):
        rows = labels[found]  # (T, 3)
        if (rows[:, 0] == rows[:, 1]).all() and (rows[:, 0] != rows[:, 2]).all():
            return found
    raise UserError(f"{path}: not triplets of these rows; delete it to create them again")


def write(path: str | Path, triplets: np.ndarray) -> None:
    """Write triplets (T, 3)."""
    with replacing(path) as part, open(part, "wb") as file:
        np.save(file, triplets)
