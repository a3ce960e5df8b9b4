"""Finished jobs are not repeated; a program that can be stopped at any update replaces fairseq-train."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import toy

from plugins import locks
from plugins.errors import UserError
from plugins.jobs import Job, Resources, Runner, options, process, runner
from plugins.jobs.job import Note

UPDATES = 4
# Counts to UPDATES from where its "checkpoint" ends, waits at the update in --pause until the file GATE exists.
PROGRAM = """
import json, os, shutil, sys, time

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder, here = options["--save-dir"], os.path.dirname(sys.argv[0])
os.makedirs(folder, exist_ok=True)
last = os.path.join(folder, "checkpoint_last.pt")
done = int(open(os.path.join(folder, "count")).read()) if os.path.exists(last) else 0
print("fairseq starts from", done)
for update in range(done + 1, 5):
    print(f'| INFO | train_inner | {{"num_updates": "{update}", "loss": "{update * float(options["--lr"])}"}}')
    with open(os.path.join(folder, "count"), "w") as count:
        count.write(str(update))
    shutil.copy(os.path.join(here, f"{update}.pt"), last)
    while str(update) == options.get("--pause") and not os.path.exists(os.path.join(here, "GATE")):
        time.sleep(0.01)
    if str(update) == options.get("--fail"):
        print("error: --lr is odd")
        sys.exit(1)
print("| INFO | done training in 0.5 seconds")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the program, and its checkpoints to copy."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "fairseq-train").write_text(PROGRAM)
    for update in range(1, UPDATES + 1):
        torch.save({"model": {}, "optimizer_history": [{"num_updates": update}]}, scripts / f"{update}.pt")
    monkeypatch.setattr(process.sysconfig, "get_path", lambda _: str(scripts))
    monkeypatch.setattr(options, "check", lambda _: None)  # the program has options of its own
    return tmp_path


def losses(folder: Path, device: str) -> dict:
    """The content of the log."""
    lines = [line for line in (folder / "train.log").read_text().splitlines() if "train_inner" in line]
    return {"losses": [json.loads(line[line.index("{") :])["loss"] for line in lines], "device": device}


def job(name="a", lr=1, *more):
    return Job(name, ("fairseq-train", "--lr", str(lr), *more), UPDATES, {"lr": lr}, finish=losses)


def run(place, *jobs, **options):
    with Runner(place / "out", Resources(cpu=True, at_a_time=2), **options) as runner:
        return runner.run(jobs)


ALL = ["1.0", "2.0", "3.0", "4.0"]


def starts(place, name="a"):
    return (place / "out" / name / "train.log").read_text().count("fairseq starts from")


def test_every_job_gives_its_result(place):
    found = run(place, job("a", 1), job("b", 10), job("c/d", 100))
    assert {name: result["losses"][-1] for name, result in found.items()} == {"a": "4.0", "b": "40.0", "c/d": "400.0"}
    assert found["a"]["device"] == "cpu"
    log = (place / "out" / "a" / "train.log").read_text()
    assert log.startswith(f"$ fairseq-train --lr 1 --save-dir {place}/out/a\n")
    assert not (place / "out" / "a" / locks.NAME).exists()


def test_a_finished_job_is_not_repeated(place):
    first = run(place, job())
    assert run(place, job()) == first
    assert starts(place) == 1


@pytest.mark.parametrize("damage", ["half a log", "half a checkpoint", "a log that ends too early"])
def test_a_finished_job_with_damaged_files_is_repeated(place, damage):
    first, folder = run(place, job()), place / "out" / "a"
    log = folder / "train.log"
    if damage == "half a log":
        log.write_text(log.read_text()[:-20])
    elif damage == "half a checkpoint":
        (folder / "checkpoint_last.pt").write_bytes((folder / "checkpoint_last.pt").read_bytes()[:99])
    else:
        lines = [line for line in log.read_text().splitlines(True) if '"4"' not in line]
        log.write_text("".join(lines))
    again = run(place, job())
    assert again["a"]["losses"][-1] == first["a"]["losses"][-1]
    assert Note.read(folder).finished


def test_another_job_of_the_name_is_refused_or_replaces_it(place):
    run(place, job("a", 1))
    with pytest.raises(UserError) as error:
        run(place, job("a", 2))
    assert str(place / "out" / "a") in str(error.value)
    assert run(place, job("a", 2), changed="redo")["a"]["losses"] == ["2.0", "4.0", "6.0", "8.0"]
    assert starts(place) == 1


def test_a_fresh_run_starts_again(place):
    run(place, job())
    (place / "out" / "a" / "old").touch()
    assert run(place, job(), fresh=True)["a"]["losses"] == ALL
    assert not (place / "out" / "a" / "old").exists()


def test_files_of_others_are_kept(place):
    (place / "out" / "a").mkdir(parents=True)
    (place / "out" / "a" / "precious").write_text("mine")
    with pytest.raises(UserError) as error:
        run(place, job(), changed="redo")
    assert str(place / "out" / "a") in str(error.value)
    assert (place / "out" / "a" / "precious").read_text() == "mine"


def test_two_jobs_may_not_share_a_folder(place):
    with pytest.raises(UserError) as error:
        run(place, job("a", 1), job("a", 2))
    assert "a" in str(error.value)


def test_a_failed_job_is_named_with_its_last_error_and_resumed(place):
    with pytest.raises(UserError) as error:
        run(place, job("b", 1, "--fail", "2"))
    for part in ("b", "--lr is odd", str(place / "out" / "b" / "train.log")):
        assert part in str(error.value)
    assert Note.read(place / "out" / "b").error == str(error.value)
    assert run(place, job("b", 1))["b"]["losses"] == ALL
    assert "starts from 2" in (place / "out" / "b" / "train.log").read_text()


def test_one_failure_stops_the_others(place):
    with pytest.raises(UserError) as error:
        run(place, job("slow", 1, "--pause", "1"), job("bad", 1, "--fail", "1"))
    assert "bad" in str(error.value)
    assert not Note.read(place / "out" / "slow").finished
    with locks.lock(place / "out" / "slow"):  # no process trains there
        pass


def test_a_second_stage_starts_from_the_first(place):
    with Runner(place / "out", Resources(cpu=True), total=2) as runner:
        first = runner.run([job("a", 1)])
        second = runner.run([job("b", float(first["a"]["losses"][-1]))])
    assert second["b"]["losses"] == ["4.0", "8.0", "12.0", "16.0"]


# A parent that is killed


def start_and_kill(place, *jobs):
    """Run jobs in another process, and kill it as soon as the first checkpoint is there."""
    parent = multiprocessing.get_context("fork").Process(target=run, args=(place, *jobs))
    parent.start()
    last = place / "out" / jobs[0].name / "checkpoint_last.pt"
    while parent.is_alive() and not last.exists():
        time.sleep(0.01)
    parent.kill()
    parent.join()


def test_a_run_with_a_killed_parent_is_joined(place):
    start_and_kill(place, job("a", 1, "--pause", "1"))
    assert locks.try_lock(place / "out" / "a") is None  # the child trains on
    (place / "scripts" / "GATE").touch()
    assert run(place, job("a", 1))["a"]["losses"] == ALL
    assert starts(place) == 1


def test_a_run_that_was_killed_with_its_parent_is_resumed(place):
    start_and_kill(place, job("a", 1, "--pause", "1"))
    os.kill(locks.holder(place / "out" / "a").process, signal.SIGKILL)
    assert run(place, job("a", 1))["a"]["losses"] == ALL
    assert starts(place) == 2


def test_another_job_does_not_touch_a_run_that_still_trains(place):
    start_and_kill(place, job("a", 1, "--pause", "1"))
    child = locks.holder(place / "out" / "a").process
    with pytest.raises(UserError) as error:
        run(place, job("a", 2), changed="redo")
    assert f"process {child}" in str(error.value)
    (place / "scripts" / "GATE").touch()
    assert run(place, job("a", 1))["a"]["losses"] == ALL


# The launchers


def test_a_job_is_run_by_any_python_file(place):
    program = place / "own.py"
    program.write_text("import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('made')")
    run(place, Job("own", (str(program), str(place / "out" / "own" / "file"))))
    assert (place / "out" / "own" / "file").read_text() == "made"


def test_submitit_is_named_where_it_is_missing(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError) as error, Runner(place / "out", Resources(launcher="submitit")) as runner:
        runner.run([job()])
    assert "submitit" in str(error.value)


@pytest.mark.slow
def test_submitted_jobs_do_the_same(place):
    """By submitit's local executor, which starts a process for each job as SLURM does."""
    pytest.importorskip("submitit")
    program, made = place / "own.py", place / "made"
    program.write_text("import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); assert 'bad' not in sys.argv, 'badly'")
    submitit = Resources(launcher="submitit", at_a_time=2, timeout_min=5)
    with Runner(place / "out", submitit) as runner:
        runner.run([Job(name, (str(program), f"{made}{name}")) for name in "ab"])
    assert (place / "madea").exists() and (place / "madeb").exists()
    assert all(Note.read(place / "out" / name).finished for name in "ab")
    with pytest.raises(UserError) as error, Runner(place / "out", submitit) as runner:
        runner.run([Job("c", (str(program), f"{made}c", "bad"))])
    assert "badly" in str(error.value)
    assert (place / "out" / ".submitit").stat().st_mode & 0o777 == 0o700


def test_a_request_to_end_is_an_interruption_within_the_block_only():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), runner.interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_do_not_handle_signals():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with runner.interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_the_bar_counts_the_jobs_of_all_calls_and_those_that_were_done(place, monkeypatch):
    made = []

    class Counted(runner.Progress):
        def __init__(self, total, title):
            made.append((total, title))
            super().__init__(total, title)

    monkeypatch.setattr(runner, "Progress", Counted)
    run(place, job("a"), job("b"), title="models")
    with Runner(place / "out", Resources(cpu=True), total=3) as found:
        found.run([job("a")])
        found.run([job("b")])
        assert found._progress.finished == 2 and found.done([job("a"), job("c")]) == {"a"}
    assert made == [(2, "models"), (3, "runs")]


def test_a_second_command_with_the_same_output_is_refused_and_leaves_nothing(tmp_path):
    folder = tmp_path / "out" / "runs"
    with runner.exclusive(folder):
        with toy.refused(folder, "output folder"), runner.exclusive(folder):
            pass
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
    with runner.exclusive(folder):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]
