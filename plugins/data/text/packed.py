"""Files that may be compressed with gzip or zstd, decompressed while they are read."""

import functools
import gzip
import hashlib
import importlib
import io
import logging
import os
import stat
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from plugins.errors import UserError
from plugins.files import check_readable, packed_error

SUFFIXES = (".gz", ".zst")
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_LARGEST_WINDOW = 1 << 27  # bytes that the decompression keeps, as `zstd --long` writes
logger = logging.getLogger(__name__)
_ZSTD = ("compression.zstd", "backports.zstd")  # the first is part of Python 3.14


class PackedFile:
    """The bytes of a plain, gzip or zstd file; a context manager. Memory does not depend on its size.

    Args:
        path: a regular file, or the pipe of a process substitution.
        start: offset of the first byte; only in a plain file.
        name: the name of the file in errors (default: ``path``).
        binary: accept any other format and return its bytes; by default those of a known format are an error.

    Null characters in a file that is not read as ``binary`` are warned of once: UTF-16 without a byte-order mark is
    valid UTF-8 with one after each letter.

    Raises:
        UserError: it cannot be read, or is compressed in another way.
    """

    def __init__(self, path: str | Path, start: int = 0, name: str | Path | None = None, binary: bool = False):
        self.name, self._binary = str(name or path), binary
        check_readable(path)
        self._kind = packing(path)
        if self._kind is None and not binary and (error := packed_error(path)):
            raise error
        try:
            self._raw = _Hashed(path, start)
            self._file: Any = _unpacked(self._raw, self._kind, self.name)
        except OSError as error:
            raise UserError(f"{self.name}: {error.strerror}") from None

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end.

        Raises:
            UserError: the archive is truncated or damaged, or the disk failed.
        """
        parts = []
        try:
            while size > 0 and (part := self._file.read(size)):
                parts.append(part)
                size -= len(part)
        except EOFError:
            raise self._damaged("truncated") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise self._damaged(f"damaged ({error})") from None
        except OSError as error:
            raise UserError(f"{self.name}: {error.strerror or error}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # compared by name: the module is optional
                raise
            raise self._damaged(f"damaged ({error})") from None
        content = b"".join(parts)
        if not self._binary and b"\0" in content:
            _warn_of_null(self.name)
        return content

    def _damaged(self, how: str) -> UserError:
        test = {"gzip": "gunzip -t", "zstd": "unzstd -t"}[str(self._kind)]
        return UserError(f"{self.name}: {how} {self._kind} archive; copy it again and check it: {test} {self.name}")

    @property
    def position(self) -> int:
        """Number of stored (compressed) bytes that were read so far."""
        return self._raw.count

    def sha256(self) -> str:
        """Return the digest of the stored bytes that were read so far."""
        return self._raw.hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def __enter__(self) -> "PackedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@functools.cache
def _warn_of_null(name: str) -> None:
    remedy = "convert it to UTF-8 (iconv -f UTF-16LE -t UTF-8, or UTF-16BE)"
    logger.warning("%s: null characters, which text seldom has; if it is UTF-16, %s", name, remedy)


def packing(path: str | Path) -> str | None:
    """Return "gzip" or "zstd" for a file in such a format, by its first bytes; None for any other and for a pipe."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            start = file.read(4)
    except (OSError, ValueError):
        return None
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def find_text(folder: str | Path, names: Iterable[str]) -> list[Path]:
    """Return the files of a folder with these names, or with ``.gz`` or ``.zst`` after them."""
    paths = (Path(folder, name + ending) for name in names for ending in ("", *SUFFIXES))
    return [path for path in paths if path.is_file()]


def without_suffix(path: str | Path) -> str:
    """Return a path without ``.gz`` or ``.zst``, whose suffix is that of the text inside."""
    text = str(path)
    return text[: text.rfind(".")] if text.lower().endswith(SUFFIXES) else text


class _Hashed(io.RawIOBase):
    """A file that counts and hashes the bytes that are read."""

    def __init__(self, path: str | Path, start: int):
        self._file = open(path, "rb", buffering=0)
        self.count, self.hash = 0, hashlib.sha256()
        if start:
            self._file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        self.hash.update(memoryview(buffer)[:count])
        self.count += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _unpacked(raw: _Hashed, kind: str | None, name: str) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=io.BufferedReader(raw, 1 << 20), mode="rb")
    if kind == "zstd":
        return _zstd_reader(name)(raw)
    return raw


def _zstd_reader(name: str) -> Callable[[_Hashed], Any]:
    """Return a function that opens a stream of zstd frames.

    Raises:
        UserError: no module for it is installed.
    """
    for module in _ZSTD:
        try:
            return importlib.import_module(module).ZstdFile
        except ModuleNotFoundError:
            continue
    try:
        importlib.import_module("zstandard")
    except ModuleNotFoundError:
        raise UserError(
            f"{name}: compressed with zstd, which needs a package (pip install zstandard); or unpack it: unzstd {name}"
        ) from None
    return _ZstandardReader


class _ZstandardReader(io.RawIOBase):
    """Frames of zstd, by the package zstandard, whose own reader does not report a truncated file."""

    _SLICE = 1024  # bytes: a block of 128 KiB may be stored in 4, so each slice gives at most 32 MiB

    def __init__(self, raw: _Hashed):
        self._raw = io.BufferedReader(raw, 1 << 20)
        self._frame: Any = None
        self._input, self._output = b"", b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._output and self._advance():
            pass
        part, self._output = self._output[:size], self._output[size:]
        return part

    def _advance(self) -> bool:
        """Decompress the next slice; return False at the end of the file."""
        zstandard = importlib.import_module("zstandard")
        if not self._input:
            self._input = self._raw.read(self._SLICE)
        if not self._input:
            if self._frame is not None:
                raise EOFError
            return False
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
        data, self._input = self._input, b""
        self._output = self._frame.decompress(data)
        if self._frame.eof:
            self._input, self._frame = self._frame.unused_data, None
        return True
