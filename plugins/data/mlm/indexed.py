"""Write fairseq's indexed data sets (``.bin`` and ``.idx``) in constant memory.

The files are byte for byte those of fairseq's ``MMapIndexedDatasetBuilder``, which keeps the length of every item in a
list. ``.idx`` consists of a header, the length of each item (int32) and the byte at which each begins (int64).
"""

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from fairseq.data import indexed_dataset

_MAGIC = b"MMIDIDX\x00\x00"
_CHUNK = 1 << 20  # numbers at a time


class RawItems:
    """Items as two raw files, ``PREFIX.ids`` and ``PREFIX.sizes`` (int32), to be written in pieces.

    Args:
        prefix: path without the suffixes.
        dtype: type of the ids.
    """

    def __init__(self, prefix: Path, dtype: np.dtype | type):
        self.dtype = np.dtype(dtype)
        self._ids, self._sizes = open(f"{prefix}.ids", "wb"), open(f"{prefix}.sizes", "wb")
        self.items = self.tokens = 0

    def add(self, ids: np.ndarray, sizes: np.ndarray) -> None:
        """Append items: their ids, (tokens,), and the length of each, (items,)."""
        self._ids.write(np.ascontiguousarray(ids, self.dtype).data)
        self._sizes.write(np.ascontiguousarray(sizes, np.int32).data)
        self.items += len(sizes)
        self.tokens += len(ids)

    def close(self) -> None:
        """Close the files."""
        self._ids.close()
        self._sizes.close()


def write_indexed(
    prefix: Path, parts: Iterable[Path], raw: np.dtype | type, order: np.ndarray, dtype: np.dtype | type
) -> dict[str, Any]:
    """Join raw items into ``PREFIX.bin`` and ``PREFIX.idx``; the ids become ``order[id]``.

    Args:
        parts: prefixes of raw items.
        raw: type of their ids.
        order: (V,) the new id of each id.
        dtype: type of the new ids.

    Returns:
        {file name: {"bytes": size, "sha256": digest}}
    """
    parts = list(parts)
    unchanged = raw == dtype and bool((order == np.arange(len(order))).all())
    table = order.astype(dtype)
    with _Digested(Path(f"{prefix}.bin")) as file:
        for part in parts:
            for ids in _chunks(f"{part}.ids", raw):
                file.write(ids if unchanged else table[ids])
    with _Digested(Path(f"{prefix}.idx")) as index:
        _write_index(index, [f"{part}.sizes" for part in parts], np.dtype(dtype))
    return {file.name: file.record(), index.name: index.record()}


def _write_index(file: "_Digested", sizes: list[str], dtype: np.dtype) -> None:
    items = sum(Path(path).stat().st_size for path in sizes) // 4
    code = indexed_dataset._dtype_header_code(dtype)
    file.write(_MAGIC + struct.pack("<QBQ", 1, code, items))
    for path in sizes:
        for chunk in _chunks(path, np.int32):
            file.write(chunk)
    address = 0
    for path in sizes:
        for chunk in _chunks(path, np.int32):
            ends = address + np.cumsum(chunk.astype(np.int64) * dtype.itemsize)
            file.write(np.concatenate([[address], ends[:-1]]))
            address = int(ends[-1])


def _chunks(path: str, dtype: np.dtype | type) -> Iterable[np.ndarray]:
    with open(path, "rb") as file:
        while len(chunk := np.fromfile(file, dtype, _CHUNK)):
            yield chunk


class _Digested:
    """A new file whose content is hashed while it is written."""

    def __init__(self, path: Path):
        self.name, self._file, self._hash, self._bytes = path.name, open(path, "wb"), hashlib.sha256(), 0

    def write(self, data: bytes | np.ndarray) -> None:
        content = data if isinstance(data, bytes) else data.data
        self._bytes += self._file.write(content)
        self._hash.update(content)

    def record(self) -> dict[str, Any]:
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def __enter__(self) -> "_Digested":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
