"""Launchers of jobs: threads of this process that wait for child processes, or a cluster through submitit.

The runner uses only the interface :class:`Launcher`.
"""

import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from plugins.errors import UserError

from . import process
from .job import Note
from .resources import Resources, devices
from .work import Work

FOLDER = ".submitit"  # in the output folder: scripts and logs of submitted jobs


class Launcher(Protocol):
    """Interface of a launcher."""

    poll: float  # seconds between checks of the futures

    def submit(self, work: Work) -> Any:
        """Start a job when there is room for it, and return a future."""

    def check(self, future: Any, work: Work) -> None:
        """Raise the exception that ended a job, if any."""

    def stop(self) -> None:
        """Stop the jobs that run and cancel those that wait."""


def launcher(resources: Resources, output: Path) -> Launcher:
    """Return the launcher that the resources name.

    Raises:
        UserError: submitit is not installed.
    """
    return Submitit(resources, output) if resources.launcher == "submitit" else Local(resources)


class Local:
    """Child processes, each on its own device while there are enough."""

    poll = 0.05

    def __init__(self, resources: Resources) -> None:
        process.allow()
        self._pool = ThreadPoolExecutor(resources.at_a_time)
        self._devices = devices(resources.at_a_time, resources.cpu)

    def submit(self, work: Work) -> Future:
        return self._pool.submit(self._do, work)

    def _do(self, work: Work) -> None:
        device = self._devices.get()
        try:
            work(device)
        finally:
            self._devices.put(device)

    def check(self, future: Future, work: Work) -> None:
        future.result()

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        process.stop_all()
        self._pool.shutdown(wait=True)


class Submitit:
    """Jobs of SLURM, or of submitit's local executor where there is no SLURM.

    submitit pickles what it runs. Each launcher uses a new folder with a random name, so nothing stored is unpickled;
    results travel through ``run.json``.

    Raises:
        UserError: submitit is not installed.
    """

    poll = 0.5

    def __init__(self, resources: Resources, output: Path) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError("--launcher submitit needs the library submitit: pip install submitit==1.5.*") from None
        (output / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = output / FOLDER / secrets.token_hex(6)
        folder.mkdir(mode=0o700)
        root = str(Path(__file__).parents[2])  # the jobs must import the package that submits them
        known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *(path for path in known if path not in ("", root))])
        self._executor = submitit.AutoExecutor(folder=folder)
        options = {"slurm_partition": resources.partition, "mem_gb": resources.mem_gb}
        self._executor.update_parameters(
            name="fairseq-workbench", timeout_min=resources.timeout_min, cpus_per_task=resources.threads,
            gpus_per_node=resources.gpus_per_job, tasks_per_node=1, nodes=1, stderr_to_stdout=True,
            **{name: value for name, value in options.items() if value is not None},
        )  # fmt: skip
        self._device = "cpu" if resources.on_cpu else None
        self._jobs: list[Any] = []

    def submit(self, work: Work) -> Any:
        job = self._executor.submit(work, self._device)
        self._jobs.append(job)
        return job

    def check(self, future: Any, work: Work) -> None:
        """Raise what ended a job, if anything did.

        Raises:
            UserError: the job failed, or ended without a result.
        """
        note = Note.read(work.folder)
        if note.identity == work.job.key() and note.finished:
            return
        why = note.error or f"the submitted job ended without a result; its output: {future.paths.stdout}"
        raise UserError(why)

    def stop(self) -> None:
        for job in self._jobs:
            if not job.done():
                job.cancel(check=False)
