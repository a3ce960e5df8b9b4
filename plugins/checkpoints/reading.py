"""Read checkpoint files without executing code, and without more memory than the file itself has.

torch's weights-only unpickler builds nothing but tensors, containers and the types of :data:`SAFE_GLOBALS`. This
module adds checks that it lacks: compressed archives, tensors that claim more elements than are stored, and
numpy scalars of any size.
"""

import argparse
import contextlib
import contextvars
import copy
import os
import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from plugins.errors import UserError, shortened

from . import schema

NUMERIC = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def numeric_dtype(name: str, align: bool = False, copy: bool = False) -> np.dtype:
    """Build the dtype of a pickled numpy scalar. A void dtype of 2 GB would fit into 30 bytes of pickle.

    Raises:
        ValueError: not one of :data:`NUMERIC`.
    """
    dtype = np.dtype(name) if isinstance(name, str) and len(name) < 8 else None
    if dtype is None or dtype.name not in NUMERIC:
        raise ValueError(f"a numpy dtype that is not numeric: {str(name)[:40]!r}")
    return dtype


def numeric_scalar(dtype: np.dtype, data: bytes) -> np.generic:
    """Build a pickled numpy scalar.

    Raises:
        ValueError: the dtype is not numeric, or ``data`` does not have its length.
    """
    if dtype.name not in NUMERIC or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ValueError("a numpy scalar whose bytes do not match its dtype")
    return np.frombuffer(data, dtype)[0]


# Plain data that fairseq stores next to tensors: command-line options, and numpy numbers (numpy has renamed its module)
SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,
    (numeric_dtype, "numpy.dtype"),
    (numeric_scalar, "numpy._core.multiarray.scalar"),
    (numeric_scalar, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(name)) for name in NUMERIC),
]


# What has been read within reading_once, by (device, inode, size, time of change)
SHARED: contextvars.ContextVar[dict | None] = contextvars.ContextVar("SHARED", default=None)


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """Read each file at most once within the block: later reads of it, fairseq's included, reuse the content.

    Tensors are shared between the reads, containers and options are copied. A file that changes is read again.
    """
    token = SHARED.set({}) if SHARED.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            SHARED.reset(token)


def read_state(path: str | os.PathLike) -> dict:
    """Read a checkpoint; its tensors are mapped from the file.

    Args:
        path: a ``.pt`` file of fairseq, of this package or of nanoGPT.

    Returns:
        The content, checked by :func:`plugins.checkpoints.schema.check`.

    Raises:
        UserError: missing, damaged, able to execute code, or with content of another type than a checkpoint has.
    """
    with named_errors(path):
        return schema.check(read_file(path), path)


def read_tensors(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Read a file that contains only named tensors; they are memory-mapped.

    Raises:
        UserError: as :func:`read_state`.
    """
    with named_errors(path, "a file of tensors"):
        tensors = read_file(path)
        if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
            raise RuntimeError("not a dict of tensors")
        return dict(schema.check_tensors(tensors, path))


def read_file(path: str | os.PathLike, mapped: bool = True) -> Any:
    """Return the raw content of a file that ``torch.save`` wrote.

    Args:
        mapped: map the tensors from the file instead of reading them; always so within :func:`reading_once`.
    """
    path = os.fspath(path)
    shared, status = SHARED.get(), os.stat(path)
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if shared is None:
        return unpickled(path, status.st_mode, mapped)
    if key not in shared:
        shared[key] = unpickled(path, status.st_mode, mapped=True)
    return copied(shared[key])


def copied(content: Any) -> Any:
    """Return a copy of the content of a file that shares its tensors.

    Each container is visited once: nested lists that contain each other many times have exponentially many leaves.
    """
    tensors: dict[int, torch.Tensor] = {}
    seen, waiting = set[int](), [content]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if torch.is_tensor(part):
            tensors[id(part)] = part
        elif isinstance(part, dict | list | tuple):
            waiting.extend(part.values() if isinstance(part, dict) else part)
    return copy.deepcopy(content, tensors)


def unpickled(path: str, mode: int, mapped: bool) -> Any:
    """Read a file with torch's weights-only reader.

    Args:
        path: the file.
        mode: its ``st_mode``.
        mapped: map the tensors into memory where the format allows it.

    Raises:
        UserError: not a regular file.
        IsADirectoryError: a folder.
    """
    if not stat.S_ISREG(mode):  # opening a pipe would block
        if os.path.isdir(path):
            raise IsADirectoryError(0, "a folder, not a file")
        raise UserError(f"{path}: not a regular file")
    check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about formats and types that are refused here or by the schema
        if not mapped:
            return torch.load(path, map_location="cpu", weights_only=True)
        try:
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError as error:
            if "mmap" not in str(error):  # the format before torch 1.6 cannot be mapped
                raise
            return torch.load(path, map_location="cpu", weights_only=True)


def check_archive(path: str) -> None:
    """Refuse compressed archives: ``torch.save`` stores tensors uncompressed, so one only serves to fill memory.

    Raises:
        UserError: it is compressed, or its members are larger than the file.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UserError(f"{path}: refused: a compressed archive; torch.save writes checkpoints uncompressed")
    if sum(member.file_size for member in members) > os.path.getsize(path):
        raise UserError(f"{path}: refused: its members claim more bytes than the file has")


def check_integrity(path: str | os.PathLike) -> None:
    """Compare the checksums of an archive with its content, which costs one pass over the file.

    Raises:
        UserError: a member is damaged.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise UserError(f"{path}: damaged: the checksum of {damaged} is wrong; get the file again")


@contextlib.contextmanager
def named_errors(path: str | os.PathLike, what: str = "a checkpoint") -> Iterator[None]:
    """Turn any error of torch, fairseq, hydra or omegaconf on a bad checkpoint into one line that names the file.

    Raises:
        UserError: in place of any other exception.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        other = error.filename is not None and os.fspath(error.filename) != os.fspath(path)
        missing = f"{shortened(str(error.filename))}: no such file, which {path} needs" if other else None
        raise UserError(missing or f"{path}: no such checkpoint") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except Exception as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is not None:
            raise UserError(
                f"{path}: refused: it contains {culprit.group(1)}, which could execute code when loaded"
            ) from error
        if isinstance(error, (pickle.UnpicklingError, EOFError, OSError, zipfile.BadZipFile)):
            raise UserError(f"{path}: truncated, or not {what}; get the file again") from error
        if "weights_only" in str(error):  # torch recommends to switch it off, which would execute code
            raise UserError(f"{path}: not {what}, or one in a format (TorchScript, tar) that is not read") from error
        detail = shortened(f"{type(error).__name__}: {error}")
        raise UserError(f"{path}: truncated, or not {what} that can be read ({detail}); get the file again") from error
