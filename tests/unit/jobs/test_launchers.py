"""Launchers: devices of local jobs, and what is asked of submitit."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy

from plugins.jobs import Job, Resources, launchers
from plugins.jobs.job import Note
from plugins.jobs.work import Work


class Executor:
    def __init__(self, folder):
        self.folder, self.submitted = Path(folder), []

    def update_parameters(self, **given):
        self.given = given

    def submit(self, work, device):
        job = SimpleNamespace(work=work, device=device, canceled=None, ended=False)
        job.done, job.cancel = lambda: job.ended, lambda check: setattr(job, "canceled", check)
        self.submitted.append(job)
        return job


@pytest.fixture
def submitit(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/own", str(toy.ROOT)]))


def test_submitit_is_asked_for_what_the_resources_say(submitit, tmp_path):
    wanted = Resources(launcher="submitit", threads=3, gpus_per_job=2, timeout_min=7, partition="gpu", mem_gb=4.5)
    executor = launchers.launcher(wanted, tmp_path)._executor
    assert executor.given == {
        "name": "fairseq-workbench", "timeout_min": 7, "cpus_per_task": 3, "gpus_per_node": 2, "tasks_per_node": 1,
        "nodes": 1, "stderr_to_stdout": True, "slurm_partition": "gpu", "mem_gb": 4.5,
    }  # fmt: skip
    assert os.environ["PYTHONPATH"] == f"{toy.ROOT}{os.pathsep}/own"
    plain = launchers.launcher(Resources(launcher="submitit"), tmp_path)._executor
    assert not {"slurm_partition", "mem_gb"} & plain.given.keys(), "the cluster decides"
    assert plain.folder != executor.folder and plain.folder.parent == tmp_path / ".submitit"
    for folder in (plain.folder, plain.folder.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert len(plain.folder.name) == 12


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (1, None)])
def test_a_submitted_job_finds_its_gpu_itself(submitit, tmp_path, gpus, device):
    where = launchers.launcher(Resources(launcher="submitit", gpus_per_job=gpus), tmp_path)
    first, second = where.submit("one"), where.submit("two")
    assert (first.work, first.device) == ("one", device)
    second.ended = True
    where.stop()
    assert (first.canceled, second.canceled) == (False, None)


def test_a_submitted_job_is_judged_by_its_run_json(submitit, tmp_path):
    where = launchers.launcher(Resources(launcher="submitit"), tmp_path)
    work = Work(Job("a", ("fairseq-train",)), tmp_path / "a", 1)
    future = SimpleNamespace(paths=SimpleNamespace(stdout="/logs/5.out"))
    work.folder.mkdir()
    Note(work.job.key(), True).write(work.folder)
    where.check(future, work)
    for note, named in (
        (Note(work.job.key()), "/logs/5.out"),
        (Note({"command": ["x"]}, True), "/logs/5.out"),
        (Note(work.job.key(), error="--lr is odd"), "--lr is odd"),
    ):
        note.write(work.folder)
        with toy.refused(named):
            where.check(future, work)


def test_local_jobs_take_turns_on_their_devices(monkeypatch):
    monkeypatch.setattr(launchers, "devices", lambda jobs, cpu: launchers_queue(jobs, cpu))
    where = launchers.Local(Resources(cpu=True, at_a_time=1))
    seen = []

    def fails(device):
        seen.append(device)
        raise ValueError("once")

    for work in (fails, seen.append):
        future = where.submit(work)
        if work is fails:
            with pytest.raises(ValueError):
                where.check(future, None)
        else:
            where.check(future, None)
    where.stop()
    assert seen == [(1, True), (1, True)], "the device of a failed job is free again"
    with pytest.raises(RuntimeError):
        where.submit(seen.append)


def launchers_queue(jobs, cpu):
    import queue

    free = queue.SimpleQueue()
    free.put((jobs, cpu))
    return free


def test_submitit_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with toy.refused("--launcher submitit"):
        launchers.launcher(Resources(launcher="submitit"), tmp_path)
