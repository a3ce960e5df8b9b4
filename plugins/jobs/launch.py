"""Run ``fairseq-train`` as a child process: its output in a log file, its progress in a bar, its last error kept."""

import fcntl
import os
import queue
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import torch
from tqdm import tqdm

from plugins import checkpoints
from plugins.analysis.runs.logs import VALID, parse_line
from plugins.errors import UserError
from plugins.files import replacing

# Left behind by a launcher of distributed jobs, these would make the child wait for others.
_DISTRIBUTED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR")
_RUNNING: set[subprocess.Popen] = set()
_PATIENCE = 20  # seconds that an interrupted child gets to end by itself


def fairseq_train(
    arguments: Sequence[str],
    log: str | Path,
    *,
    title: str,
    updates: int,
    threads: int,
    bar: bool = True,
    device: str | None = None,
) -> None:
    """Run ``fairseq-train`` to its end; Ctrl-C ends it too.

    Args:
        arguments: the command line after the program's name, with ``--log-format json`` among it.
        log: file that the command line and the output are appended to.
        title: what errors and the bar call the run.
        updates: the bar's length.
        threads: CPU threads of the child.
        bar: show one.
        device: of :func:`devices`; the child sees no other GPU. None: all of them.

    Raises:
        UserError: the exit status is not 0, and the text holds the child's last error; or an earlier child is still
            writing to the log, for it outlives a parent that is killed.
    """
    program = [sys.executable, os.path.join(sysconfig.get_path("scripts"), "fairseq-train")]
    settings = {name: value for name, value in os.environ.items() if name not in _DISTRIBUTED}
    settings |= {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    # Threads that wait for each other in a loop slow a small model down tenfold where other programs want the cores.
    settings.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if device is not None and device != "cpu":
        settings["CUDA_VISIBLE_DEVICES"] = visible_gpus()[torch.device(device).index]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with open(log, "a", encoding="utf-8") as file:
        _lock(file)
        print("$ fairseq-train", shlex.join(arguments), file=file, flush=True)
        process = subprocess.Popen([*program, *arguments], env=settings, pass_fds=[file.fileno()], **pipes)
        _RUNNING.add(process)
        try:
            error = _follow(process.stdout, file, title, updates if bar else None)
            process.wait()
        finally:
            _stop(process)
            _RUNNING.discard(process)
    if process.returncode:
        raise UserError(f"{title}: fairseq-train failed: {error} (everything it said: {log})")


def check_ended(log: str | Path) -> None:
    """Make sure that no child is writing to a log, before its folder is touched.

    Raises:
        UserError: one is.
    """
    if os.path.exists(log):
        with open(log, "a", encoding="utf-8") as file:
            _lock(file)


def _lock(log: TextIO) -> None:
    """Lock an open log until this process and each child that inherits it have closed it, or ended."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{log.name}: a run is still writing to it; wait for its end, or end it") from None
    except OSError:  # a file system without locks
        pass


def visible_gpus() -> list[str]:
    """Return the names of this process's GPUs, ``cuda:0`` and on, as ``CUDA_VISIBLE_DEVICES`` has them."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in named.split(",")][:count] if named else [str(i) for i in range(count)]


def devices(runs: int, cpu: bool = False) -> queue.SimpleQueue:
    """Return a queue that holds a device for each of ``runs`` at a time: the GPUs in turn, or ``cpu`` without any.

    fairseq takes every GPU it sees and multiplies the batch by their number, so runs that are compared get one each.
    """
    gpus = 0 if cpu else len(visible_gpus())
    free = queue.SimpleQueue()
    for i in range(runs):
        free.put(f"cuda:{i % gpus}" if gpus else "cpu")
    return free


def stop_all() -> None:
    """End the children that other threads of this process wait for; those threads see them fail."""
    for process in list(_RUNNING):
        _stop(process)


def resumable(save_dir: str | Path) -> bool:
    """Make sure that ``checkpoint_last.pt`` is whole, if need be from a numbered one, and say whether there is one.

    A full disk, or fairseq without this package, leaves half of it behind.
    """
    last = Path(save_dir) / "checkpoint_last.pt"
    numbered = sorted(last.parent.glob("checkpoint_*_*.pt"), key=os.path.getmtime, reverse=True)
    for path in (last, *numbered):
        try:
            checkpoints.read_state(str(path))
        except UserError:
            continue
        if path != last:
            with replacing(last) as part:
                shutil.copyfile(path, part)
        return True
    return False


def _follow(lines: Iterable[str], log: TextIO, title: str, updates: int | None) -> str:
    """Copy a run's output into its log and move a bar; return its last error, or else its last line."""
    last = error = ""
    with tqdm(total=updates, desc=title, unit=" updates", leave=False, disable=updates is None or None) as bar:
        for line in lines:
            log.write(line)
            log.flush()
            last = line.strip() or last
            if line.startswith("error: "):
                error = last.removeprefix("error: ")
            _show(bar, line)
    return error or last or "no output"


def _show(bar: tqdm, line: str) -> None:
    record = parse_line(line)
    if record is None:
        return
    bar.update(max(0, record.updates - bar.n))
    if record.stage == VALID and "ppl" in record.values:
        bar.set_postfix_str(f"validation perplexity {record.values['ppl']:.1f}")


def _stop(process: subprocess.Popen) -> None:
    """End a child that is still running, as it is after an exception."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
