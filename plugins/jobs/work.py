"""Execute one job: lock its folder, resume or start, train, check that the run is complete, store the result."""

import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from plugins import locks
from plugins.errors import UserError

from . import process
from .job import Job, Note, changes, incomplete, log_is_behind, resumable

_POLL = 0.2  # seconds between attempts to acquire the lock of a run in progress
_GRACE = 10  # attempts before a lock whose holder has not written run.json yet counts as foreign


@dataclass(frozen=True)
class Work:
    """One job in its folder; calling it executes the job. Picklable if ``job.finish`` is.

    Attributes:
        redo: start again in a folder that belongs to a job with another identity.
        fresh: start again even if the same job has finished or can be resumed.
        remedy: what the error about another identity offers besides another output folder.
    """

    job: Job
    folder: Path
    threads: int
    redo: bool = False
    fresh: bool = False
    remedy: str = ""

    def __call__(self, device: str | None = None) -> None:
        """Execute the job on a device; None: on the GPUs that are visible, else on the CPU.

        The result is in ``run.json``.

        Raises:
            UserError: the training failed, or the folder belongs to something else. The error is in ``run.json`` too.
        """
        with self.join() as lock:
            note = self.check()
            if self.is_done(note):
                return
            self.prepare(note)
            try:
                self.train(lock, device)
                place = device or ("cuda" if torch.cuda.is_available() else "cpu")
                result = dict(self.job.finish(self.folder, place)) if self.job.finish else {}
            except UserError as error:
                Note(self.job.key(), error=str(error)).write(self.folder)
                raise
            Note(self.job.key(), True, result).write(self.folder)

    def checkpoint(self, device: str | None = None) -> Any:
        """Return the work that submitit resubmits when the job is preempted or times out: the same work."""
        import submitit

        return submitit.helpers.DelayedSubmission(replace(self, fresh=False), device)

    def join(self) -> locks.FolderLock:
        """Lock the folder. A run that still trains there, left behind by a killed parent, is waited for.

        Raises:
            UserError: another job, or another program, is using the folder.
        """
        attempts = 0
        while (lock := locks.try_lock(self.folder)) is None:
            attempts += 1
            process.check_allowed()
            mine = Note.read(self.folder).identity == self.job.key()
            if not mine and attempts > _GRACE:
                raise UserError(
                    f"{self.folder} is in use by {locks.holder(self.folder)}; wait for it to end, or end it"
                )
            if mine and attempts == 1:
                say(f"{self.job.name}: waiting for {locks.holder(self.folder)}, which still trains it")
            time.sleep(_POLL)
        return lock

    def check(self) -> Note:
        """Return the ``run.json`` of the folder.

        Raises:
            UserError: the folder contains files of another program or of a job with another identity.
        """
        note = Note.read(self.folder)
        if note.identity is None and any(path.name != locks.NAME for path in contents(self.folder)):
            raise UserError(f"{self.folder} contains files of another program; choose another output folder")
        if note.identity not in (None, self.job.key()) and not self.redo:
            what, more = changes(note.identity, self.job.key()), self.remedy and f", or {self.remedy}"
            raise UserError(
                f"{self.folder} contains a run with other {what} than this one; choose another output folder{more}"
            )
        return note

    def is_done(self, note: Note) -> bool:
        """Return whether the job finished and its files are whole."""
        if self.fresh or note.identity != self.job.key() or not note.finished:
            return False
        return not self.job.trains or incomplete(self.job, self.folder) is None

    def prepare(self, note: Note) -> None:
        """Keep what an interrupted run of the same job can resume from, else empty the folder; mark it unfinished."""
        same = note.identity == self.job.key() and not self.fresh
        if note.finished and not self.fresh:
            why = "its files are incomplete" if same else f"other {changes(note.identity, self.job.key())} than before"
            say(f"{self.job.name} is run again: {why}")
        if not same or not self.can_resume():
            for path in contents(self.folder):
                if path.name != locks.NAME:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        Note(self.job.key()).write(self.folder)

    def can_resume(self) -> bool:
        """Return whether the folder is usable: it contains a complete run, or a checkpoint with the log up to it."""
        if not self.job.trains or incomplete(self.job, self.folder) is None:
            return True
        return resumable(self.folder) and log_is_behind(self.job, self.folder) is None

    def train(self, lock: locks.FolderLock, device: str | None) -> None:
        """Run the command, unless a process that outlived its parent has done so; check that the files are whole.

        Raises:
            UserError: the command failed, or left incomplete files.
        """
        job = self.job
        if job.trains and incomplete(job, self.folder) is None:
            return
        process.run(job.command_in(self.folder), self.folder / job.log, job.name, self.threads, lock, device)
        missing = incomplete(job, self.folder) if job.trains else None
        if missing:
            raise UserError(f"{job.name}: {missing}")


def say(message: str) -> None:
    """Print a message above the progress bar, to standard error."""
    tqdm.write(message, file=sys.stderr)


def contents(folder: Path) -> list[Path]:
    """Return the files and folders in a folder that may be missing."""
    return list(folder.iterdir()) if folder.is_dir() else []
