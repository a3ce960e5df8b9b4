"""Write files and folders atomically."""

import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plugins import locks
from plugins.errors import UserError

_OF_TORCH = ("PytorchStreamWriter failed writing", "inline_container.cc")
_OF_NUMPY = re.compile(r"\d+ requested and \d+ written")  # an OSError without errno
ABANDONED = 60  # seconds after which an unlocked temporary file is the remains of a killed process


class NotWritten(UserError):
    """A file or folder cannot be written.

    Attributes:
        path: the file or folder.
        reason: why, for example ``No space left on device``.
    """

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: cannot be written ({reason})")
        self.path, self.reason = Path(path), reason

    def __reduce__(self):
        return UserError, (str(self),)


def make_folder(path: str | Path) -> None:
    """Make a folder and its parents unless they exist.

    Raises:
        UserError: it cannot be created, or a file has its name.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a folder to write to") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write atomically: yield a temporary path, rename it on success, delete it on failure.

    Parent folders are created, and removed on failure. A pipe, a device (``/dev/null``) and an open file of a process
    (``/dev/stdout``, which may be redirected to a file) are yielded themselves, not replaced.
    Temporary files that killed processes left for the same path are removed.

    Raises:
        NotWritten: it cannot be written, for example because the disk is full.
    """
    path = Path(path)
    special = is_open_file(path) or (path.exists() and not path.is_file() and not path.is_dir())
    part, lock, missing = path, -1, missing_parents(path)
    try:
        if not special:
            remove_abandoned(path)
            part = temporary(path)
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW
            lock = locks.in_folder(path.parent, lambda: os.open(part, flags, 0o666))
            _try_lock(lock)
        yield part
        if not special:
            os.replace(part, path)
    except (OSError, RuntimeError) as error:
        if reason := write_failure(error):
            raise NotWritten(path, reason) from error
        raise
    finally:
        if not special:
            with suppress(OSError):  # it was renamed, or never created
                part.unlink()
        if lock >= 0:
            os.close(lock)
        remove_empty(missing)


def is_open_file(path: str | Path) -> bool:
    """Whether a path names an open file of a process, as ``/dev/stdout`` and ``/dev/fd/1`` do."""
    place = os.path.abspath(path)
    target = os.readlink(place) if os.path.islink(place) else ""
    return any(name.startswith(("/proc/", "/dev/fd/")) for name in (place, target))


def missing_parents(path: str | Path) -> list[Path]:
    """Return the parent folders of a path that do not exist, innermost first."""
    return [folder for folder in Path(os.path.abspath(path)).parents if not os.path.lexists(folder)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, innermost first, as far as they exist and are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def write_failure(error: BaseException | None) -> str | None:
    """Return why writing failed, if an exception comes from that; None otherwise.

    On a full disk torch raises RuntimeError, and numpy an OSError without errno.
    """
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        if isinstance(error, OSError) and _OF_NUMPY.search(str(error)):
            return f"no space left, or the disk failed: {error}"
        if isinstance(error, RuntimeError) and any(text in str(error) for text in _OF_TORCH):
            return "no space left, or the disk failed"
        error = error.__cause__ or error.__context__
    return None


def temporary(path: Path) -> Path:
    """Return a path for a temporary file or folder next to ``path``, with an unpredictable name."""
    return path.with_name(f".{path.name[:50]}.{os.urandom(8).hex()}.part")


@contextmanager
def temporary_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder next to ``path``, to be renamed to it in the block; remove it if it is still there after.

    Parent folders are created, and removed if they are empty after it. Folders that killed processes left for the
    same path are removed.

    Raises:
        NotWritten: it cannot be created or written, for example because the disk is full.
    """
    path = Path(os.path.abspath(path))
    part, lock, missing = temporary(path), -1, missing_parents(path)
    try:
        remove_abandoned(path)
        part.mkdir(parents=True)
        lock = os.open(part, os.O_RDONLY)
        _try_lock(lock)
        yield part
    except NotWritten as error:
        if error.path.is_relative_to(part):  # name the folder instead of its temporary name
            raise NotWritten(path, error.reason) from error
        raise
    except (OSError, RuntimeError) as error:
        if reason := write_failure(error):
            above = path.parent  # a folder that is replaced may be writable itself
            where = f" in {above}" if above.is_dir() and not os.access(above, os.W_OK | os.X_OK) else ""
            raise NotWritten(path, reason + where) from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock >= 0:
            os.close(lock)
        remove_empty(missing)


def rename_new(part: Path, folder: Path) -> bool:
    """Rename a folder; return False if the new name is taken, for example by another process meanwhile."""
    try:
        os.rename(part, folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return False
    return True


@contextmanager
def staging(folder: str | Path) -> Iterator[Path]:
    """Write the files of a folder together: yield a staging folder; on success, move its files into ``folder``.

    Files of the same names are replaced and other files in ``folder`` are kept. On failure nothing changes, and
    folders that did not exist are not created. ``folder`` is locked meanwhile (:mod:`plugins.locks`); if another
    process holds the lock, wait for it, at most :data:`.locks.PATIENCE` seconds.

    Raises:
        UserError: another process keeps the lock, or a file cannot be written, for example because the disk is full.
    """
    folder = Path(folder)
    missing = missing_parents(folder / "file")
    try:
        with locks.wait(folder), temporary_folder(folder / "files") as part:
            yield part
            found = sorted(path for path in part.rglob("*") if not path.is_dir())
            moves = [(path, folder / path.relative_to(part)) for path in found]
            device = os.stat(part).st_dev
            for _, target in moves:
                check_replaceable(target, device)
            for path, target in moves:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    except NotWritten as error:
        own = error.path == Path(os.path.abspath(folder / "files"))
        raise NotWritten(folder if own else error.path, error.reason) from error
    finally:
        remove_empty(missing)


def check_replaceable(path: Path, device: int) -> None:
    """Check that a file of a device can be moved to a path.

    Raises:
        NotWritten: it is a folder, a file is in the place of a parent folder, or the folder cannot be written or is on
            another device.
    """
    if path.is_dir() and not path.is_symlink():
        raise NotWritten(path, "is a folder; remove it")
    parent = next(folder for folder in path.parents if os.path.lexists(folder))
    if not parent.is_dir():
        raise NotWritten(parent, "is not a folder; remove it")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise NotWritten(path, "its folder is not writable")
    if os.stat(parent).st_dev != device:
        raise NotWritten(path, "its folder is on another file system than the others; choose another output folder")


def remove_abandoned(path: Path) -> None:
    """Remove temporary files and folders for ``path`` whose process was killed: unlocked and unchanged for a minute."""
    pattern = re.compile(re.escape(f".{path.name[:50]}.") + r"[0-9a-f]{16}\.part")
    with suppress(OSError):
        for entry in os.scandir(path.parent):
            if pattern.fullmatch(entry.name) and not entry.is_symlink():
                _remove_if_abandoned(entry.path)


def _remove_if_abandoned(path: str) -> None:
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            info = os.fstat(file)
            if time.time() - info.st_mtime > ABANDONED and _try_lock(file):
                shutil.rmtree(path) if stat.S_ISDIR(info.st_mode) else os.unlink(path)
        finally:
            os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
