"""Run jobs, as many at a time as allowed, and return their results."""

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plugins import locks
from plugins.atomic import missing_parents, remove_empty
from plugins.errors import UserError
from plugins.files import make_folder

from . import options
from .job import Job, Note
from .launchers import launcher
from .progress import Progress, names_twice
from .resources import Resources
from .work import Work


class Runner:
    """Runs jobs in folders below an output folder.

    Args:
        output: the folder.
        resources: resources of the jobs.
        total: number of jobs of all calls of :meth:`run`, for the progress bar (default: of the first call).
        changed: what to do with a folder that belongs to a job of the same name with another identity: ``refuse`` or
            ``redo``.
        remedy: what the error of ``refuse`` offers besides another output folder, for example ``--force``.
        fresh: run every job from the start, even finished ones.
        title: what the jobs are called in the progress bar.

    Use it as a context manager, which shows the bar; Ctrl-C and SIGTERM in the block stop the jobs.
    """

    def __init__(
        self, output: str | Path, resources: Resources = Resources(), *, total: int | None = None,  # noqa: B008
        changed: str = "refuse", fresh: bool = False, title: str = "runs",
        remedy: str = "",
    ) -> None:  # fmt: skip
        self.output, self.resources, self.total, self.title = Path(output), resources, total, title
        self.remedy = remedy
        self.redo, self.fresh = changed == "redo", fresh
        self._progress: Progress | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Runner":
        self._stack.enter_context(interruptible())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def done(self, jobs: Sequence[Job]) -> set[str]:
        """Return the names of the jobs that need not be run.

        Raises:
            UserError: two jobs have one name, or a folder belongs to something else.
        """
        twice = names_twice(job.name for job in jobs)
        if twice:
            raise UserError(f"two jobs are called {twice[0]}")
        return {work.job.name for work in map(self._work, jobs) if work.is_done(work.check())}

    def run(self, jobs: Sequence[Job]) -> dict[str, dict]:
        """Run the unfinished jobs, and return the result of each job by its name.

        Raises:
            UserError: options are invalid, and nothing was started; or a job failed: the others were stopped, and are
                resumed by the next call. Or as :meth:`done`.
        """
        done = self.done(jobs)
        options.check([job for job in jobs if job.name not in done])
        make_folder(self.output)
        if self._progress is None:
            total = len(jobs) if self.total is None else self.total
            self._progress = self._stack.enter_context(Progress(total, self.title))
        self._progress.skip(len(done))
        self._run([self._work(job) for job in jobs if job.name not in done])
        return {job.name: Note.read(self.output / job.name).result or {} for job in jobs}

    def _work(self, job: Job) -> Work:
        return Work(job, self.output / job.name, self.resources.threads, self.redo, self.fresh, self.remedy)

    def _run(self, todo: list[Work]) -> None:
        """Keep as many jobs running as allowed until all are done; an exception stops them."""
        if not todo:
            return
        waiting, where = deque(todo), launcher(self.resources, self.output)
        running: dict[Any, Work] = {}  # by the future of a job
        progress = self._progress
        assert progress is not None, "run makes it"
        try:
            while waiting or running:
                while waiting and len(running) < self.resources.at_a_time:
                    work = waiting.popleft()
                    progress.follow(work.job.name, work.folder / work.job.log, work.job.updates)
                    running[where.submit(work)] = work
                ended = [future for future in running if future.done()]
                for future in ended:
                    where.check(future, running[future])
                    progress.finish(running.pop(future).job.name)
                if not ended:
                    progress.show()
                    time.sleep(where.poll)
        finally:
            where.stop()


@contextlib.contextmanager
def exclusive(output: Path) -> Iterator[None]:
    """Lock the output folder of a :class:`Runner` in a block, before its jobs or what they read are written.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written.
    """
    missing = missing_parents(output / "file")
    try:
        with locks.lock(output, "wait for it to end, or choose another output folder"):
            yield
    finally:
        remove_empty(missing)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt within a block, so that child processes are stopped then too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
