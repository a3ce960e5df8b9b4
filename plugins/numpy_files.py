"""Read ``.npy`` and ``.npz`` files from outside: no pickles, and no more memory than the file's size justifies."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

from plugins.errors import UserError, shortened
from plugins.files import check_readable

KINDS = "biufU"  # booleans, integers, floats and text: kinds that contain no Python objects
SMALL = 1 << 28  # bytes that any archive may unpack to
RATIO = 20  # above SMALL: the largest ratio of unpacked to packed bytes; probabilities compress by 2 to 10


def read_npz(path: str | Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by name.

    Args:
        names: arrays to read where they are there; None reads all.

    Raises:
        UserError: not a regular file, not an archive of plain arrays, damaged, or its arrays are larger than its
            packed size justifies.
    """
    check_readable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            wanted = [name for name in (members if names is None else names) if name in members]
            size = sum(members[name].file_size for name in wanted)
            if size > max(SMALL, RATIO * os.path.getsize(path)):
                raise UserError(f"{path}: refused: its arrays unpack to {size:,} bytes; write them uncompressed")
            return {name: _read_member(archive, members[name], f"{path}: array {name!r}") for name in wanted}
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on a damaged file
        raise UserError(f"{path}: not an .npz of plain arrays ({_line(error)})") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> np.ndarray:
    with archive.open(member) as file:
        check_header(file, member.file_size, what)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_npy(path: str | Path, mapped: bool = False) -> np.ndarray:
    """Return the array of a ``.npy`` file.

    Args:
        mapped: map the file into memory, read-only, instead of reading it.

    Raises:
        UserError: not a regular file, not a plain array, or damaged.
    """
    check_readable(path)
    try:
        with open(path, "rb") as file:
            check_header(file, os.path.getsize(path), str(path))
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # numpy parses the header as a literal, which raises many kinds
        raise UserError(f"{path}: not a .npy file of numbers ({_line(error)})") from error


def check_header(file: IO[bytes], size: int, what: str) -> None:
    """Compare what the header of a ``.npy`` file claims with the ``size`` bytes that it has.

    Raises:
        UserError: values of a kind that could execute code, or another number of bytes than the shape takes.
        ValueError: not a ``.npy`` file.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.kind not in KINDS:
        raise UserError(f"{what}: refused: values of type {dtype}; numbers or text are expected")
    claimed = dtype.itemsize * int(np.prod(np.array(shape, object)))  # in Python's integers, which do not overflow
    if claimed != size - file.tell():
        raise UserError(f"{what}: damaged: the shape {shape} takes {claimed:,} bytes, {size - file.tell():,} are there")


def _line(error: Exception) -> str:
    return shortened(str(error), 100) or type(error).__name__
