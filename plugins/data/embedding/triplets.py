"""Files of hard triplets, ``hard_triplets.npy``: (T, 3) row numbers of anchors, positives and negatives.

Next to it, ``hard_triplets.json`` has the SHA-256 of the texts of these rows: other texts with equal labels
need other triplets.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from plugins import numpy_files
from plugins.errors import UserError
from plugins.files import read_json, replacing, write_json

HARD = "hard_triplets.npy"
TEXTS = "sha256_of_texts"


def read(path: str | Path, texts: Iterable[str], labels: np.ndarray) -> np.ndarray:
    """Return the triplets (T, 3) of a file.

    Args:
        texts: those of the rows that they name.
        labels: (N,) class ids of these rows.

    Raises:
        UserError: a file is damaged, or contains triplets of other rows.
    """
    found, labels, texts_file = numpy_files.read_npy(path), np.asarray(labels), Path(path).with_suffix(".json")
    fits = found.ndim == 2 and found.shape[1] == 3 and len(found) and found.dtype.kind in "iu"
    if fits and texts_file.exists():  # files of earlier versions have none
        fits = read_json(texts_file, dict).get(TEXTS) == digest(texts)
    if fits and 0 <= found.min() and found.max() < len(labels):
        rows = labels[found]  # (T, 3)
        if (rows[:, 0] == rows[:, 1]).all() and (rows[:, 0] != rows[:, 2]).all():
            return found
    raise UserError(f"{path}: not triplets of these rows; delete it to create them again")


def write(path: str | Path, triplets: np.ndarray, texts: Iterable[str]) -> None:
    """Write triplets (T, 3) of the rows with these texts."""
    write_json(Path(path).with_suffix(".json"), {TEXTS: digest(texts)})
    with replacing(path) as part, open(part, "wb") as file:
        np.save(file, triplets)


def digest(texts: Iterable[str]) -> str:
    """Return a SHA-256 of texts in their order."""
    total = hashlib.sha256()
    for text in texts:
        total.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return total.hexdigest()
