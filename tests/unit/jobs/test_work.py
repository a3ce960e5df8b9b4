"""One job in its folder."""

import sys
from types import SimpleNamespace

import pytest
import toy

from plugins import locks
from plugins.jobs import Job, process, work
from plugins.jobs.job import Note
from plugins.jobs.work import Work

OWN = Job("a", ("own.py",))
TRAINS = Job("a", ("fairseq-train",))


@pytest.fixture
def ran(monkeypatch):
    """The runs of commands, none of which does anything."""
    calls = []
    monkeypatch.setattr(process, "run", lambda *call: calls.append(call))
    return calls


def test_a_job_is_done_once_and_gets_its_threads_and_device(ran, tmp_path):
    work_ = Work(OWN, tmp_path / "a", 3)
    work_("cuda:1")
    work_("cuda:1")
    ((command, log, title, threads, lock, device),) = ran
    assert (command, log, title, threads, device) == (("own.py",), tmp_path / "a" / "train.log", "a", 3, "cuda:1")
    assert Note.read(tmp_path / "a") == Note(OWN.key(), True, {})


def test_the_result_is_computed_on_the_device_of_the_job(ran, tmp_path, monkeypatch):
    job = Job("a", ("own.py",), finish=lambda folder, device: {"device": device})
    for gpu, given, device in ((False, None, "cpu"), (True, None, "cuda"), (True, "cpu", "cpu")):
        monkeypatch.setattr(work.torch.cuda, "is_available", lambda gpu=gpu: gpu)
        Work(job, tmp_path / f"{gpu}{given}", 1)(given)
        assert Note.read(tmp_path / f"{gpu}{given}").result == {"device": device}


def test_a_run_that_ends_with_incomplete_files_is_an_error(ran, tmp_path):
    with toy.refused("a", tmp_path / "a" / "train.log"):
        Work(TRAINS, tmp_path / "a", 1)()
    note = Note.read(tmp_path / "a")
    assert not note.finished and "train.log" in note.error


def test_why_a_job_is_run_again_is_printed(ran, tmp_path, capsys):
    Note({"lr": 1}, True).write(tmp_path)
    (tmp_path / "old").touch()
    Work(Job("a", ("own.py",), identity={"lr": 2}), tmp_path, 1, redo=True)()
    assert capsys.readouterr().err == "a is run again: other lr than before\n" and not (tmp_path / "old").exists()
    Note(TRAINS.key(), True).write(tmp_path)
    (tmp_path / "folder").mkdir()
    with toy.refused("train.log"):
        Work(TRAINS, tmp_path, 1)()
    assert "incomplete" in capsys.readouterr().err and not (tmp_path / "folder").exists()
    Note(OWN.key(), True).write(tmp_path)
    Work(OWN, tmp_path, 1, fresh=True)()
    assert len(ran) == 3 and capsys.readouterr().err == ""


def test_an_unfinished_job_of_another_program_keeps_its_files(ran, tmp_path):
    Note(OWN.key()).write(tmp_path)
    (tmp_path / "made").touch()
    Work(OWN, tmp_path, 1)()
    assert (tmp_path / "made").exists() and len(ran) == 1


def test_a_preempted_job_continues_and_does_not_start_afresh(monkeypatch, tmp_path):
    helpers = SimpleNamespace(DelayedSubmission=lambda *given: given)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(helpers=helpers))
    assert Work(OWN, tmp_path, 1, fresh=True).checkpoint("cpu") == (Work(OWN, tmp_path, 1), "cpu")


@pytest.fixture(autouse=True)
def allowed():
    process.allow()


@pytest.mark.parametrize("mine", [True, False])
def test_a_folder_in_use_is_waited_for_only_by_the_same_job(tmp_path, monkeypatch, capsys, mine):
    """Ten attempts are for a holder that has not written its run.json yet."""
    held, waits = locks.lock(tmp_path), []
    held.name_holder(77, "fairseq-train")
    Note(OWN.key() if mine else {"x": 1}).write(tmp_path)

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 15:
            held.release()

    monkeypatch.setattr(work.time, "sleep", sleep)
    if mine:
        Work(OWN, tmp_path, 1).join().release()
        assert waits == [0.2] * 15 and capsys.readouterr().err.count("process 77") == 1
    else:
        with toy.refused(tmp_path, "process 77"):
            Work(OWN, tmp_path, 1).join()
        assert len(waits) == 10 and capsys.readouterr().err == ""
        held.release()


def test_waiting_ends_when_all_jobs_are_stopped(tmp_path):
    Note(OWN.key()).write(tmp_path)
    with locks.lock(tmp_path):
        process.stop_all()
        try:
            with toy.refused("stopped"):
                Work(OWN, tmp_path, 1).join()
        finally:
            process.allow()


def test_a_missing_folder_has_no_contents(tmp_path):
    assert work.contents(tmp_path / "missing") == []


def test_a_run_with_another_identity_is_named_with_what_differs(ran, tmp_path):
    Note({"command": [1], "data": "x"}, True, {}).write(tmp_path)
    other = Job("a", ("own.py",), identity={"command": [1], "data": "y"})
    with toy.refused(tmp_path, "data", "output folder") as error:
        Work(other, tmp_path, 1)()
    assert "--force" not in str(error.value)
    with toy.refused(tmp_path, "--force"):
        Work(other, tmp_path, 1, remedy="replace it with --force")()
