"""Find exact and near duplicates among the documents of a corpus, in constant memory: growing data is kept on disk.

Exact duplicates agree in the digest of their normalized text. Near duplicates have a band of their MinHash signatures
in common and agree in at least a threshold of the signatures' 128 values (:mod:`plugins.data.text.minhash`). Of each
pair the later document is dropped.
"""

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins.data.text.minhash import BANDS, HASHES, band_keys, normalized, signatures

LONGEST = 1_000_000  # characters of a document that near duplicates are compared by
_RECORDS = 1 << 21  # records sorted at a time: 100 MB
_PAIRS = 1 << 15  # pairs compared at a time
_RECORD = np.dtype([("key", np.uint64), ("rest", np.uint64), ("document", np.int64)])


def digests(texts: Sequence[str]) -> np.ndarray:
    """Return 128 bits of the SHA-256 of each normalized text, (n, 2) uint64."""
    found = [hashlib.sha256(normalized(text).encode("utf-8", "surrogatepass")).digest()[:16] for text in texts]
    return np.frombuffer(b"".join(found), np.uint64).reshape(-1, 2)


def near_signatures(texts: Sequence[str]) -> np.ndarray:
    """Return the MinHash signatures of normalized texts, (n, 128) uint32, of their first million characters."""
    found = [np.empty((0, HASHES), np.uint32)]
    batch, size = [], 0
    for text in texts:
        batch.append(normalized(text[:LONGEST]))
        size += len(batch[-1])
        if size >= 200_000:  # characters: the pieces fit into a core's cache
            found.append(signatures(batch))
            batch, size = [], 0
    return np.concatenate([*found, signatures(batch)] if batch else found)


class DuplicateFinder:
    """Collects what documents are compared by, in files of a folder, then finds the duplicates.

    Args:
        folder: for temporary files.
        near: look for near duplicates too.
        threshold: share of the 128 values from which documents are near duplicates.
    """

    def __init__(self, folder: Path, near: bool, threshold: float = 0.8):
        self.folder, self.near, self.threshold = folder, near, threshold
        self._digests = open(folder / "digests", "wb")
        self._signatures = open(folder / "signatures", "wb") if near else None
        self._bands = [open(folder / f"band{i}", "wb") for i in range(BANDS)] if near else []

    def add(self, digests: np.ndarray, signatures: np.ndarray | None) -> None:
        """Add the next documents: (n, 2) digests and, for near duplicates, (n, 128) signatures."""
        self._digests.write(np.ascontiguousarray(digests).data)
        if self._signatures is not None and signatures is not None:
            self._signatures.write(np.ascontiguousarray(signatures).data)
            keys = band_keys(signatures)
            for band, file in enumerate(self._bands):
                file.write(np.ascontiguousarray(keys[:, band]).data)

    def find(self, path: Path) -> tuple[np.ndarray, int, int]:
        """Return which documents to drop, (documents,) booleans in the file ``path``, and the numbers of both kinds.

        The first document of each group of equal documents stays. Of near duplicates a document is dropped if an
        earlier one was found to be similar.
        """
        for file in [self._digests, *([self._signatures] if self._signatures else []), *self._bands]:
            file.close()
        count = (self.folder / "digests").stat().st_size // 16
        dropped = np.memmap(path, bool, "w+", shape=(count,)) if count else np.zeros(0, bool)
        for records in _sorted_groups(self.folder / "digests", count, 2):
            same = (records["key"][1:] == records["key"][:-1]) & (records["rest"][1:] == records["rest"][:-1])
            dropped[records["document"][1:][same]] = True
        exact = int(np.count_nonzero(dropped))
        if self.near and count:
            self._drop_near(dropped)
        return dropped, exact, int(np.count_nonzero(dropped)) - exact

    def _drop_near(self, dropped: np.ndarray) -> None:
        values: Any = np.memmap(self.folder / "signatures", np.uint32, "r", shape=(len(dropped), HASHES))
        for band in range(BANDS):
            for records in _sorted_groups(self.folder / f"band{band}", len(dropped), 1):
                for first, second in _candidates(records):
                    left = ~dropped[second]
                    first, second = first[left], second[left]
                    similar = (values[first] == values[second]).mean(axis=1) >= self.threshold  # (pairs, 128)
                    dropped[second[similar]] = True
                    values._mmap.madvise(mmap.MADV_DONTNEED)  # else all that was read counts as memory of this process


def _candidates(records: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of documents with the same key: each with the first and with the one before, the earlier first."""
    new = np.concatenate([[True], records["key"][1:] != records["key"][:-1]])
    head = np.maximum.accumulate(np.where(new, np.arange(len(records)), 0))
    later = np.flatnonzero(~new)
    documents = records["document"]
    for start in range(0, len(later), _PAIRS):
        part = later[start : start + _PAIRS]
        yield documents[head[part]], documents[part]
        yield documents[part - 1], documents[part]


def _sorted_groups(path: Path, count: int, columns: int) -> Iterator[np.ndarray]:
    """Yield records sorted by key, rest and document; equal keys are together, in one array of bounded size.

    A pass over the file collects the keys of one residue: they are hashes, so the residues are about equally frequent.

    Args:
        path: (count, columns) uint64: the key, and the rest if there are two columns.
    """
    passes = -(-count // _RECORDS)
    for number in range(passes):
        parts = []
        for start in range(0, count, _RECORDS):
            size = min(_RECORDS, count - start)
            chunk = np.fromfile(path, np.uint64, size * columns, offset=8 * start * columns).reshape(size, columns)
            chosen = np.flatnonzero(chunk[:, 0] % np.uint64(passes) == number)
            records = np.zeros(len(chosen), _RECORD)
            records["key"], records["rest"] = chunk[chosen, 0], chunk[chosen, columns - 1]
            records["document"] = chosen + start
            parts.append(records)
        records = np.concatenate(parts)
        yield records[np.lexsort((records["document"], records["rest"], records["key"]))]
