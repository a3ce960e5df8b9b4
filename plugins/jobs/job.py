"""A job, its status file ``run.json``, and checks that its log and checkpoints are complete."""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from plugins import checkpoints
from plugins.analysis.runs import logs
from plugins.errors import UserError, shortened
from plugins.files import read_json_if_any, replacing, write_json

FAIRSEQ_TRAIN = "fairseq-train"
NOTE, LAST = "run.json", "checkpoint_last.pt"
START = "$ "  # a log has a line with the command for each start of the process
_SAVED = re.compile(r"(?>.*?Saved checkpoint ).* @ (\d{1,18}) updates")
END = "done training in"  # what fairseq-train logs after the last update and the last checkpoint


@dataclass(frozen=True)
class Job:
    """A command that trains in a folder.

    Attributes:
        name: path of the job's folder, relative to the runner's output folder; unique.
        command: program and arguments. The program is ``fairseq-train``, another console script of the environment,
            or a path to a Python file; it is run by this Python.
        updates: length of the training, for the progress bar; 0 if unknown.
        identity: JSON data that decides the result. The default is the command.
        log: name of the log file in the folder.
        checkpoints: names of the checkpoints that a finished job must have.
        finish: called as ``finish(folder, device)`` after training, where the job ran; returns the result as JSON data.
            For the submitit launcher it must be picklable: a function of a module, or a ``functools.partial`` of one.
    """

    name: str
    command: tuple[str, ...]
    updates: int = 0
    identity: Any = None
    log: str = "train.log"
    checkpoints: tuple[str, ...] = ()
    finish: Callable[[Path, str], Mapping] | None = field(default=None, compare=False)

    @property
    def trains(self) -> bool:
        """Whether the command is ``fairseq-train``, whose log and checkpoints can be checked."""
        return self.command[0] == FAIRSEQ_TRAIN

    def command_in(self, folder: Path) -> tuple[str, ...]:
        """Return the command, with ``--save-dir`` unless it is given."""
        given = any(word == "--save-dir" or word.startswith("--save-dir=") for word in self.command)
        return self.command if given or not self.trains else (*self.command, "--save-dir", str(folder))

    def key(self) -> Any:
        """Return the identity as JSON stores it."""
        identity = {"command": list(self.command)} if self.identity is None else self.identity
        return json.loads(json.dumps(identity))


@dataclass(frozen=True)
class Note:
    """Content of ``run.json``.

    Attributes:
        identity: identity of the job that the folder belongs to; None without a ``run.json``.
        finished: whether it ran to its end.
        result: return value of its ``finish`` function.
        error: why its last attempt failed.
    """

    identity: Any = None
    finished: bool = False
    result: Any = None
    error: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "Note":
        """Read the ``run.json`` of a folder; a damaged one counts as missing."""
        content = read_json_if_any(folder / NOTE)
        identity = content.get("identity", content.get("options"))  # `options` and `command`: before version 0.2
        if identity is None and "command" in content:
            identity = {"command": content["command"]}
        result, error = content.get("result"), content.get("error")
        return cls(identity, bool(content.get("finished", result is not None)), result, error and str(error))

    def write(self, folder: Path) -> None:
        """Write ``run.json`` atomically."""
        content = {"identity": self.identity, "finished": self.finished}
        content |= {name: value for name in ("result", "error") if (value := getattr(self, name)) is not None}
        write_json(folder / NOTE, content, indent=1)


def changes(known: Any, identity: Any) -> str:
    """Return which parts of an identity differ from the known one, for example "options and data".

    Of a part that maps names to values, such as paths to digests, those that differ are named; of a list, such as a
    command, the first difference; a part that the version which wrote ``run.json`` did not record is named as such.
    """
    if not (isinstance(known, dict) and isinstance(identity, dict)):
        return "options"
    found = []
    for name in {**known, **identity}:
        before, now = known.get(name), identity.get(name)
        if isinstance(before, dict) and isinstance(now, dict) and before != now:
            found.append(f"{name} ({', '.join(key for key in {**before, **now} if before.get(key) != now.get(key))})")
        elif isinstance(before, list) and isinstance(now, list) and before != now:
            found.append(f"{name} ({difference(before, now)})")
        elif before != now:
            found.append(name if name in known else f"{name} (not recorded before)")
    return " and ".join(found) or "files"


def difference(before: Sequence[Any], now: Sequence[Any]) -> str:
    """Return the first difference of two lists of arguments, for example "--lr 1e-3, now 2e-3"."""
    parts = SequenceMatcher(None, before, now, autojunk=False).get_opcodes()
    first = next(part for part in parts if part[0] != "equal")
    old, new = (" ".join(map(str, part)) or "nothing" for part in (before[slice(*first[1:3])], now[slice(*first[3:])]))
    flag = str(before[first[1] - 1]) if first[1] else ""
    return shortened(f"{flag + ' ' if flag.startswith('-') and old != 'nothing' else ''}{old}, now {new}", 80)


# Completeness of files


def last_attempt(log: Path) -> list[str]:
    """Return the lines that the last start of the process has written to a log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    begins = max((i for i, line in enumerate(lines) if line.startswith(START)), default=0)
    return lines[begins:]


def incomplete(job: Job, folder: Path) -> str | None:
    """Return what is missing from a finished run of ``fairseq-train``, or None if log and checkpoints are whole."""
    log = folder / job.log
    if not any(END in line for line in last_attempt(log)):
        return f"{log}: the log of the training ends before its last update"
    for name in job.checkpoints:
        try:
            checkpoints.read_state(str(folder / name))
        except UserError as error:
            return str(error)
    return log_is_behind(job, folder)


def log_is_behind(job: Job, folder: Path) -> str | None:
    """Return what is wrong if a checkpoint is damaged, or was saved after the last update in the log; else None."""
    log = folder / job.log
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"{log}: {error.strerror}"
    updates = [record.updates for record in logs.read_log(lines)]
    updates += [int(match[1]) for line in lines if (match := _SAVED.match(line))]
    logged = max(updates, default=None)
    for path in (folder / name for name in dict.fromkeys((*job.checkpoints, LAST)) if (folder / name).exists()):
        try:
            history = checkpoints.read_state(str(path)).get("optimizer_history")
        except UserError as error:
            return str(error)
        saved = history[-1].get("num_updates", 0) if isinstance(history, list) and history else 0
        if logged is not None and saved > logged:
            return f"{log}: ends at update {logged}, but {path.name} was saved at update {saved}"
    return None


def resumable(save_dir: str | Path) -> bool:
    """Return whether training can resume from ``checkpoint_last.pt``; restore it from a numbered checkpoint if damaged.

    A full disk, or fairseq without this package, leaves incomplete files.
    """
    last = Path(save_dir) / LAST
    numbered = checkpoints.by_update(last.parent)
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
