"""Logits of training and of held-out rows, written to memory-mapped files while a model trains.

A folder has a file for each split and epoch: ``train_epoch_1.npy``, ``held_out_epoch_1.npy``, ..., each an array
(n, K) whose row is that of the training file; rows that the split does not have are NaN. Training logits are float16,
those of other splits float32.
"""

import re
from pathlib import Path

import numpy as np

from plugins import numpy_files
from plugins.errors import UserError, check

PATTERN = re.compile(r"([a-z_]+)_epoch_(\d+)\.npy")
BLOCK = 1 << 16  # rows at a time


class Recorder:
    """Writes logits by row.

    Args:
        folder: made if it is not there.

    Raises:
        UserError: the folder cannot be created.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--record-logits {folder}: {error.strerror}") from error
        self._open: dict[str, tuple[Path, np.memmap]] = {}  # one file per split

    def write(self, split: str, epoch: int, rows: np.ndarray, total: int, logits: np.ndarray) -> None:
        """Write the logits (B, K) of some of ``total`` rows."""
        path = self.folder / f"{split}_epoch_{epoch}.npy"
        if self._open.get(split, (None,))[0] != path:
            self._open[split] = path, self._new(path, (total, logits.shape[1]), "f2" if split == "train" else "f4")
        self._open[split][1][rows] = logits

    def _new(self, path: Path, shape: tuple[int, int], kind: str) -> np.memmap:
        try:
            array = np.lib.format.open_memmap(path, "w+", kind, shape)
            for start in range(0, shape[0], BLOCK):
                array[start : start + BLOCK] = np.nan
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
        return array


def read(folder: str | Path, split: str) -> list[np.ndarray]:
    """Return the arrays (n, K) of a split, memory-mapped, by epoch.

    Raises:
        UserError: the files or an epoch are missing, a file is damaged, or shapes differ.
    """
    named = ((PATTERN.fullmatch(path.name), path) for path in Path(folder).glob(f"{split}_epoch_*.npy"))
    found = {int(match[2]): path for match, path in named if match and match[1] == split}
    check(found, f"{folder}: no logits of the split {split!r}")
    check(sorted(found) == list(range(1, len(found) + 1)), f"{folder}: epochs of {split} are missing: {sorted(found)}")
    arrays = [load(found[epoch]) for epoch in sorted(found)]
    check(len({array.shape for array in arrays}) == 1, f"{folder}: the shapes of {split} differ between epochs")
    return arrays


def load(path: Path) -> np.ndarray:
    """Return one file, memory-mapped.

    Raises:
        UserError: it is damaged, or does not contain floats (n, K).
    """
    array = numpy_files.read_npy(path, mapped=True)
    check(array.ndim == 2 and np.issubdtype(array.dtype, np.floating), f"{path}: logits (rows, classes) are expected")
    return array
