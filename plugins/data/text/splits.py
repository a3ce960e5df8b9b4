"""A split of an encoded corpus, read through a memory map."""

import mmap

import numpy as np


class TextSplit:
    """A split of characters, bytes or tokens: one array of ids, divided into documents.

    Attributes:
        ids: (length,) unsigned, mapped from disk, numbered as in the corpus.
        starts: (documents,) int64, index of the first id of each document; ``ends`` is exclusive.
        labels: (documents,) int64 style of each document, or None.
        table: (alphabet,) int64, the dictionary's id for each id of the corpus; None if they are the same.
    """

    # The kernel maps up to 2 MiB around each character that is read, which all counts as memory of this process.
    RELEASE_AFTER = 64  # windows
    SMALL = 1 << 26  # bytes of an array that may stay mapped as a whole

    def __init__(
        self,
        ids: np.ndarray,
        starts: np.ndarray,
        labels: np.ndarray | None = None,
        table: np.ndarray | None = None,
    ):
        self.ids, self.starts, self.labels, self.table = ids, starts, labels, table
        self.ends = np.append(starts[1:], len(ids))
        self._windows_read = 0

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return windows, (windows, length) int64; beyond the end of the split its last id is repeated."""
        self._windows_read += len(starts)
        if self._windows_read >= self.RELEASE_AFTER and self.ids.nbytes > self.SMALL:
            self._release()
        positions = starts[:, None] + np.arange(length)  # (windows, length)
        ids = self.ids[np.minimum(positions, len(self.ids) - 1, out=positions)]
        return ids.astype(np.int64) if self.table is None else self.table[ids]

    def _release(self) -> None:
        """Unmap the pages that were read; they stay in the operating system's cache."""
        self._windows_read = 0
        mapped = getattr(self.ids, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
