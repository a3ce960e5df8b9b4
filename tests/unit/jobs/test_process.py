"""Child processes: their environment, their errors, and how they are stopped."""

import time

import pytest
import toy

from plugins import locks
from plugins.jobs import process


@pytest.fixture
def run(tmp_path):
    def run(code, **options):
        (tmp_path / "own.py").write_text(code)
        with locks.lock(tmp_path) as lock:
            process.run((str(tmp_path / "own.py"), "a b"), tmp_path / "log", "title", 2, lock, **options)
        return (tmp_path / "log").read_text()

    process.allow()
    yield run
    process.allow()


def test_the_log_has_the_command_line_and_all_output(run):
    text = run("import sys; print('out', sys.argv[1]); print('err', file=sys.stderr)")
    assert text == "$ own.py 'a b'\nout a b\nerr\n"


def test_the_child_is_the_holder_of_the_lock(run, tmp_path):
    named = f"open({str(tmp_path / locks.NAME)!r}).read().split(chr(10))[0] == str(os.getpid())"
    code = f"import os, time\nfor _ in range(500):\n  if {named}: print('named'); break\n  time.sleep(0.01)"
    assert run(code).endswith("named\n")


def test_waiting_threads_sleep_unless_the_user_decides_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    found = process.environment(1, None)
    assert (found["OMP_WAIT_POLICY"], found["PYTHONUNBUFFERED"]) == ("PASSIVE", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert process.environment(1, None)["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("log", "status", "message"),
    [
        ("$ x\nerror: old\n$ y\na\nerror: first\nerror: last\nmore\n", 1, "last"),
        ("$ x\na\n  b  \n\n", 1, "b"),
        ("$ x\n", 3, "exit status 3, without output"),
        ("$ x\na\n", -9, "ended by signal 9"),
        ("$ x\nerror: a\n", -9, "a"),
        ("$ x\n" + "y" * 600, 1, "y" * 500),
    ],
)
def test_the_last_error_of_the_last_start_is_reported(tmp_path, log, status, message):
    (tmp_path / "log").write_text(log)
    assert process.last_error(tmp_path / "log", status) == message


def test_a_program_that_fails_is_named_with_its_log(run, tmp_path):
    with toy.refused("title", "own.py", "badly", tmp_path / "log"):
        run("raise SystemExit('badly')")


def test_nothing_is_started_after_all_were_stopped(run, tmp_path):
    process.stop_all()
    with toy.refused("stopped"):
        run("")
    assert not (tmp_path / "log").exists()


def test_a_child_that_ignores_the_request_to_end_is_killed(run, monkeypatch, tmp_path):
    monkeypatch.setattr(process, "_PATIENCE", 0.1)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); open('ready', 'w').close(); time.sleep(60)"
    monkeypatch.chdir(tmp_path)

    class Interrupted(process.subprocess.Popen):
        def wait(self, timeout=None):
            if timeout is None and self.poll() is None and not (tmp_path / "seen").exists():
                while not (tmp_path / "ready").exists():
                    time.sleep(0.01)
                (tmp_path / "seen").touch()
                raise KeyboardInterrupt
            return super().wait(timeout)

    started = []
    monkeypatch.setattr(process.subprocess, "Popen", lambda *a, **o: started.append(Interrupted(*a, **o)) or started[0])
    with pytest.raises(KeyboardInterrupt):
        run(code)
    assert started[0].returncode == -9 and not process._RUNNING
