"""One lock per run: a folder that a training run writes to is locked until the run ends, and the holder can be named.

The lock is ``flock`` on the file ``.lock`` in the folder, so the kernel releases it when the last process that holds it
ends for any reason. A process that starts a run can acquire the lock first and pass it on: the child inherits the open
file, and :data:`VARIABLE` names the locked file, so that the child does not compete with its parent. A child that
outlives its parent keeps the lock.
"""

import atexit
import fcntl
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from plugins.errors import UserError

NAME = ".lock"
PATIENCE = 60.0  # seconds to wait for a process that writes the results of another run to the same folder
VARIABLE = "FAIRSEQ_WORKBENCH_LOCK"  # environment variable: the lock file that the parent process holds for its child
_HELD: dict[str, int] = {}  # lock file: the process that took it (a forked child inherits this table)
_TRAINING: list[tuple[int, "FolderLock"]] = []  # what lock_for_training took, and in which process


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as recorded in its lock file.

    Attributes:
        process: process id, or 0 if unknown.
        host: name of its machine.
        command: its command line.
    """

    process: int
    host: str
    command: str

    def __str__(self) -> str:
        if not self.process:
            return "another process"
        where = "" if self.host == platform.node() else f" on {self.host}"
        return f"process {self.process}{where} ({self.command})"


class FolderLock:
    """A lock on a folder, held by this process until :meth:`release`; a context manager that releases it."""

    def __init__(self, path: Path, file: TextIO | None) -> None:
        self.path, self._file = path, file

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that a child process has to inherit to hold the lock too."""
        return () if self._file is None else (self._file.fileno(),)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a child process that runs in the folder."""
        return {VARIABLE: str(self.path)}

    def name_holder(self, process: int, command: str) -> None:
        """Write into the lock file which process other programs should name; on a full disk it stays empty."""
        if self._file is None:
            return
        content = f"{process}\n{platform.node()}\n{' '.join(command.split())[:200]}\n"
        with suppress(OSError):
            os.ftruncate(self._file.fileno(), 0)
            os.pwrite(self._file.fileno(), content.encode(errors="replace"), 0)

    def release(self) -> None:
        """Release the lock and delete its file."""
        _HELD.pop(str(self.path), None)
        if self._file is None:
            return
        with suppress(OSError):
            self.path.unlink()
        self._file.close()
        self._file = None


def holder(folder: str | Path) -> Holder:
    """Return the process that the lock file of a folder names."""
    try:
        return _read_holder(_path(folder).read_text(encoding="utf-8", errors="replace"))
    except OSError:  # deleted meanwhile
        return Holder(0, "", "")


def try_lock(folder: str | Path) -> FolderLock | None:
    """Lock a folder, which is created if it is missing; return None if another process holds the lock.

    On a file system without locks the lock always succeeds.

    Raises:
        UserError: the folder cannot be written.
    """
    path = _path(folder)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        while True:
            file = os.fdopen(in_folder(path.parent, lambda: os.open(path, flags, 0o644)), "r+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
            except OSError:
                file.close()
                return FolderLock(path, None)
            if _is_at(file, path):
                break
            file.close()  # its holder deleted it between opening and locking: try the new one
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; name a folder to write to") from error
    taken = FolderLock(path, file)
    _HELD[str(path)] = os.getpid()
    taken.name_holder(os.getpid(), _command())
    return taken


def in_folder(folder: Path, open_file: Callable[[], int]) -> int:
    """Return the file descriptor of a file that is opened in a folder, which is created if it is missing.

    Another process may remove the empty folder in between, which is then created again.

    Raises:
        OSError: the folder cannot be created, or the file not opened.
    """
    for _ in range(10):
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return open_file()
    return open_file()


def lock(folder: str | Path, remedy: str = "wait for it to end, or name another folder") -> FolderLock:
    """Lock a folder, which is created if it is missing.

    Args:
        remedy: end of the error message: what the user can do.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written.
    """
    taken = try_lock(folder)
    if taken is None:
        raise UserError(f"{folder} is in use by {holder(folder)}; {remedy}")
    return taken


def wait(folder: str | Path) -> FolderLock:
    """Lock a folder as :func:`lock` does, after waiting at most :data:`PATIENCE` seconds for another process.

    Raises:
        UserError: another process still holds the lock, or the folder cannot be written.
    """
    taken, end = try_lock(folder), time.monotonic() + PATIENCE
    if taken is None:
        print(f"waiting for {holder(folder)}, which writes to {folder}", file=sys.stderr, flush=True)
    while taken is None and time.monotonic() < end:
        time.sleep(0.1)
        taken = try_lock(folder)
    return taken or lock(folder)


def lock_for_training(save_dir: str | Path) -> None:
    """Lock the folder of a run of ``fairseq-train`` until :func:`release_training`, or the end of the process.

    Does nothing if this process, or the parent that started it, already holds the lock.

    Raises:
        UserError: another process trains in the folder, or it cannot be written.
    """
    path = str(_path(save_dir))
    if os.environ.get(VARIABLE) == path or _HELD.get(path) == os.getpid():
        return
    taken = lock(save_dir, "wait for it to end, or choose another --save-dir")
    _TRAINING.append((os.getpid(), taken))


def release_training() -> None:
    """Release what :func:`lock_for_training` locked in this process."""
    for process, taken in _TRAINING:
        if process == os.getpid():  # a forked child must not release its parent's lock
            taken.release()
    _TRAINING.clear()


atexit.register(release_training)


def _path(folder: str | Path) -> Path:
    return Path(folder).resolve() / NAME  # the file itself may not be a link: it is opened without following one


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _command() -> str:
    return " ".join([Path(sys.argv[0] or "python").name, *sys.argv[1:]])


def _read_holder(text: str) -> Holder:
    lines = text[:1000].split("\n") + ["", ""]
    process = int(lines[0]) if lines[0].isdecimal() and len(lines[0]) < 12 else 0
    command = "".join(character if character.isprintable() else "?" for character in lines[2])
    return Holder(process, lines[1][:100], command)
