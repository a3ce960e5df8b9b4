"""Start a program as a child process that writes its own log, and stop it."""

import os
import shlex
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from plugins.errors import UserError
from plugins.locks import FolderLock

from .job import START, last_attempt
from .resources import visible_gpus

# Left behind by a launcher of distributed jobs, these would make the child wait for others.
_DISTRIBUTED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR")
_RUNNING: set[subprocess.Popen] = set()
_STOPPED = threading.Event()  # set by stop_all(): threads must not start another child
_PATIENCE = 20  # seconds that an interrupted child has to exit


def run(
    command: Sequence[str], log: Path, title: str, threads: int, lock: FolderLock, device: str | None = None
) -> None:
    """Run a program to its end; an exception in this thread, such as Ctrl-C, stops it.

    The child writes to the log itself and inherits the lock, so both outlive a parent that is killed.

    Args:
        command: a console script of the environment, or a path to a Python file, and its arguments.
        log: file that the command line and the output are appended to.
        title: name of the run in errors.
        threads: CPU threads of the child.
        lock: lock of the folder that it writes to.
        device: the only GPU that the child sees, as :func:`.resources.devices` names it. None: all of them.

    Raises:
        UserError: the exit status is not 0; the message contains the child's last error.
    """
    check_allowed()
    program, *arguments = command
    path = program if os.path.sep in program else os.path.join(sysconfig.get_path("scripts"), program)
    with open(log, "a", encoding="utf-8") as file:
        print(START + shlex.join([os.path.basename(program), *arguments]), file=file, flush=True)
        process = subprocess.Popen(
            [sys.executable, path, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env=environment(threads, device) | lock.environment, pass_fds=lock.descriptors,
        )  # fmt: skip
    lock.name_holder(process.pid, shlex.join([os.path.basename(program), *arguments]))
    _RUNNING.add(process)
    try:
        check_allowed()  # stop_all() may have come between
        process.wait()
    finally:
        _stop(process)
        _RUNNING.discard(process)
    if process.returncode:
        name = os.path.basename(program)
        raise UserError(f"{title}: {name} failed: {last_error(log, process.returncode)} (full log: {log})")


def environment(threads: int, device: str | None) -> dict[str, str]:
    """Return the environment variables of a child."""
    settings = {name: value for name, value in os.environ.items() if name not in _DISTRIBUTED}
    settings |= {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    # Threads that wait for each other in a loop slow a small model down tenfold where other programs want the cores.
    settings.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if device is not None and device != "cpu":
        settings["CUDA_VISIBLE_DEVICES"] = visible_gpus()[torch.device(device).index]
    return settings


def last_error(log: Path, status: int) -> str:
    """Return the last ``error: ...`` line of the last start in a log, else its last line, else the exit status."""
    lines = [line.strip() for line in last_attempt(log)[1:] if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if status < 0 and not errors:
        return f"ended by signal {-status}"
    return (errors or lines or [f"exit status {status}, without output"])[-1][:500]


def allow() -> None:
    """Let threads start children again after :func:`stop_all`."""
    _STOPPED.clear()


def check_allowed() -> None:
    """Raise a UserError after :func:`stop_all`."""
    if _STOPPED.is_set():
        raise UserError("stopped")


def stop_all() -> None:
    """Stop the children that other threads of this process wait for; those threads fail, and start no others."""
    _STOPPED.set()
    for process in list(_RUNNING):
        _stop(process)


def _stop(process: subprocess.Popen) -> None:
    """Stop a child that is still running."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
