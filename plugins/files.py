"""Read and write text, JSON and YAML, with errors in one line; compare and check paths."""

import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from plugins.atomic import make_folder as make_folder  # one import for what most callers need
from plugins.atomic import replacing
from plugins.atomic import staging as staging
from plugins.errors import UserError, shown
from plugins.plain_data import BadData, parse_json, parse_yaml

LONGEST_FILE = 1 << 30  # bytes of a JSON file
LONGEST_YAML = 1 << 24
INPUTS = ("checkpoint*.pt", "*.safetensors", "*.bin", "*.model", "config.json", "*token*.json", "vocab*", "*.txt")
_MAGIC = {
    b"\x1f\x8b": ("compressed with gzip", "unpack it first: gunzip"),
    b"BZh": ("compressed with bzip2", "unpack it first: bunzip2"),
    b"\xfd7zXZ": ("compressed with xz", "unpack it first: unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it first: unzstd"),
    b"PK\x03\x04": ("a zip archive", "unpack it first: unzip"),
    b"\xff\xfe": ("UTF-16", "convert it to UTF-8: iconv -f utf-16 -t utf-8"),
    b"\xfe\xff": ("UTF-16", "convert it to UTF-8: iconv -f utf-16 -t utf-8"),
}

# ---- reading -------------------------------------------------------------------------------------


@contextmanager
def opened(path: str | Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file; line breaks are kept and a byte-order mark is removed.

    Raises:
        UserError: it cannot be read, is not a regular file, or is not UTF-8.
    """
    check_readable(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise locate_not_utf8(path) from error


def read_text(path: str | Path) -> str:
    """Return the content of a UTF-8 text file; see :func:`opened`."""
    with opened(path) as file:
        return file.read()


def read_bytes(path: str | Path, hint: str = "") -> bytes:
    """Return the content of a regular file; ``hint`` is appended to the error.

    Raises:
        UserError: it cannot be read, or is not a regular file.
    """
    check_readable(path, hint)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}{hint}") from error


def check_readable(path: str | Path, hint: str = "") -> None:
    """Raise an error unless it is a regular file: a named pipe blocks forever, and most files are read twice.

    The pipe of a process substitution, ``<(command)``, is allowed.

    Raises:
        UserError: no such file, or a folder, a named pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}{hint}") from error
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a folder; name a file")
    if not stat.S_ISREG(mode) and not str(path).startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin", "/dev/null")):
        raise UserError(f"{path}: not a regular file; write its content to a file and name that")


def check_regular(path: str | Path) -> None:
    """Raise an error unless it is a regular file; no pipe, for a file that is read more than once.

    Raises:
        UserError: as :func:`check_readable`, or it is a pipe.
    """
    check_readable(path)
    if not os.path.isfile(path):
        raise UserError(f"{path}: a pipe can be read only once; write its content to a file and name that")


def not_utf8(
    path: str | Path, line: int | None = None, byte: int | None = None, offset: int = 0, unpacked: bool = False
) -> UserError:
    """Return the error for a file that is not UTF-8: where, or its actual format where its first bytes show that.

    Args:
        unpacked: the place is in the text that a compressed file contains.
    """
    if not unpacked and (packed := packed_error(path)):
        return packed
    place = "" if line is None else f":{line}"
    which = "" if byte is None else f" (byte {byte:#04x} at offset {offset})"
    return UserError(f"{path}{place}: not UTF-8{which}; convert it, for example: iconv -f latin1 -t utf-8 {path}")


def locate_not_utf8(path: str | Path) -> UserError:
    """Return :func:`not_utf8` with the position of the first wrong byte, found by reading the file again."""
    try:
        content = Path(path).read_bytes() if os.path.isfile(path) else b""
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return not_utf8(path, line, content[error.start], error.start)
    except OSError:
        pass
    return not_utf8(path)


def packed_error(path: str | Path) -> UserError | None:
    """Return the error for a compressed or UTF-16 file, by its first bytes, else None."""
    start = b""
    with suppress(OSError), open(path, "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            start = file.read(6)
    for magic, (kind, remedy) in _MAGIC.items():
        if start.startswith(magic):
            return UserError(f"{path}: {kind}; {remedy} {path}")
    return None


def read_json(path: str | Path, kind: type | tuple[type, ...] = object) -> Any:
    """Return the content of a JSON file.

    Args:
        kind: what its value must be, for example ``dict``.

    Raises:
        UserError: it cannot be read, is not JSON (see :func:`parse_json`), or its value is of another kind.
    """
    text = _read_limited(path, LONGEST_FILE)
    try:
        content = parse_json(text)
    except BadData as error:
        raise UserError(f"{path}{error.place}: {error}") from None
    if not isinstance(content, kind):
        raise UserError(f"{path}: {_name(kind)} is expected in JSON, found {_name(type(content))}")
    return content


def read_json_if_any(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file that this package wrote, or ``{}`` if it is missing or damaged."""
    try:
        return read_json(path, dict)
    except UserError:
        return {}


_NAMES = {dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def _name(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(dict.fromkeys(_NAMES.get(kind, "null") for kind in kinds))


def _read_limited(path: str | Path, limit: int) -> str:
    with opened(path) as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise UserError(f"{path}: more than {limit:,} characters, so not a file of this kind")
    return text


def read_yaml(path: str | Path, texts: bool = False) -> Any:
    """Return the content of a YAML file.

    Args:
        texts: return every scalar as it is written; otherwise YAML's types apply, where ``yes`` is True.

    Raises:
        UserError: it cannot be read, is not YAML, has one key twice in a mapping, is nested deeper than
            :data:`.plain_data.DEEPEST`, or is too large.
    """
    text = _read_limited(path, LONGEST_YAML)
    try:
        return parse_yaml(text, texts)
    except BadData as error:
        raise UserError(f"{path}{error.place}: {error}") from None


# ---- writing -------------------------------------------------------------------------------------


def write_json(path: str | Path, content: Any, indent: int | None = None) -> None:
    """Write data as JSON; see :func:`replacing`."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8; see :func:`replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


# ---- paths ---------------------------------------------------------------------------------------


def check_not_read(written: Iterable[str | Path | None], read: Iterable[str | Path | None]) -> None:
    """Check that no path that is written is one that is read, before any work; None is skipped.

    Of a folder that is read, checkpoints, tokenizers and configs count (:data:`INPUTS`).

    Raises:
        UserError: two paths name one file, possibly through a link.
    """
    sources = {}
    for path in (path for path in read if path):
        sources[os.path.realpath(path)] = path
        if os.path.isdir(path):
            sources |= {os.path.realpath(file): file for pattern in INPUTS for file in Path(path).glob(pattern)}
    for path in (path for path in written if path and (os.path.isfile(path) or not os.path.exists(path))):
        source = sources.get(os.path.realpath(path))
        if source is None:
            source = next((s for s in sources.values() if os.path.exists(path) and same_file(path, s)), None)
        if source is not None:
            raise UserError(f"{path}: would be written over {source}, which is read; name another output")


def check_distinct(files: Mapping[str, str | Path | None]) -> None:
    """Check that files with different roles, for example training and validation, are different; None is skipped.

    Args:
        files: {role: file}; the role is named in the error.

    Raises:
        UserError: two are one file, possibly through a link.
    """
    named = [(role, path) for role, path in files.items() if path is not None]
    for i, (role, path) in enumerate(named):
        for other, earlier in named[:i]:
            if same_file(path, earlier):
                raise UserError(f"{role} {path}: the same file as {other} {earlier}; give another one")


def same_file(one: str | Path, two: str | Path) -> bool:
    """Return whether two paths name one file, possibly through a link."""
    try:
        return os.path.samefile(one, two) and os.path.isfile(one)
    except OSError:
        return False


def split_paths(text: str) -> list[str]:
    """Split a list of paths at its colons, but not at a colon that belongs to an existing path.

    A URL (``https://...``) is not split, like in fairseq.
    """
    parts, paths = [part for part in re.split(r":(?!//)", text or "") if part], []
    while parts:
        count = next((n for n in range(len(parts), 1, -1) if os.path.exists(":".join(parts[:n]))), 1)
        paths.append(":".join(parts[:count]))
        del parts[:count]
    return paths


def check_relative(path: str, source: object) -> None:
    """Raise an error for a stored path outside its folder: absolute, with ``..``, or a URL.

    Raises:
        UserError: it is one of these; ``source`` names the file and the key.
    """
    parts = path.replace("\\", "/").split("/")
    if not path or os.path.isabs(path) or path[0] in "~\\" or ".." in parts or "://" in path or "\0" in path:
        raise UserError(f"{source}: {shown(path)} must be a path within its folder, without .. and not a URL")


def without_nan(value: object) -> object:
    """Return nested lists and dicts with None for NaN and infinities, which JSON lacks."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
