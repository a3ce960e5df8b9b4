"""A fork of tests/fork_server.py behaves like a new Python process in tests of command lines."""

import os
import signal
import subprocess
import sys

import pytest
import toy

SHOW = """
import json, os, sys
import torch
streams = [(s.encoding, s.errors, s.line_buffering) for s in (sys.stdout, sys.stderr)]
print(json.dumps({
    "argv": sys.argv, "name": __name__, "file": __file__, "path": sys.path, "folder": os.getcwd(), "streams": streams,
    "environment": sorted(k for k in os.environ if not k.startswith("TOY_")), "threads": torch.get_num_threads(),
    "plugins": "plugins" in sys.modules, "cli": "fairseq_cli" in sys.modules, "umask": os.umask(0),
    "files": sorted(n for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)),
}))
"""


@pytest.fixture
def script(tmp_path):
    def write(content):
        path = tmp_path / "script.py"
        path.write_text(content)
        return path

    return write


@pytest.fixture(params=[False, True], ids=["fork", "new Python"])
def start(request):
    """Start a script in both ways, so that each test runs for both."""
    return lambda *arguments, **options: toy.start_cli(arguments, real=request.param, **options)


@pytest.mark.slow
def test_environment_folder_arguments_paths_and_files_equal_those_of_a_new_python(script, tmp_path):
    path, read = script(SHOW), {}
    for real in (False, True):
        options = {"cwd": tmp_path, "PYTHONPATH": f"{toy.ROOT}:elsewhere", "PYTHONIOENCODING": "latin-1:replace"}
        done = toy.run_cli([path, "--a", "b c"], real=real, **options, OMP_NUM_THREADS="2", OTHER="\udcff")
        assert (done.status, done.err) == (0, "")
        read[real] = done.out
    assert read[False] == read[True]


@pytest.mark.parametrize(
    ("code", "status", "out", "err"),
    [
        ("print('é')", 0, "é\n", ""),
        ("import sys; sys.exit(3)", 3, "", ""),
        ("import sys; sys.exit('sorry')", 1, "", "sorry\n"),
        ("import os; os._exit(7)", 7, "", ""),
        ("import atexit; atexit.register(print, 'late'); print('early')", 0, "early\nlate\n", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, "", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "", ""),
        ("import threading; threading.Timer(0.01, print, ['thread']).start()", 0, "thread\n", ""),
    ],
)
def test_status_output_and_errors(start, script, code, status, out, err):
    done = toy.finish(start(script(code)))
    assert (done.status, done.out, done.err) == (status, out, err)


def test_an_uncaught_error_ends_in_its_traceback(start, script):
    done = toy.finish(start(script("def f():\n    1 / 0\nf()")))
    assert done.status == 1 and done.err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert f'{script("")}", line 2, in f' in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("handled", [False, True])
def test_signals_reach_the_forked_process(start, script, number, handled):
    handler = f"signal.signal({int(number)}, lambda *_: sys.exit(5))" if handled else ""
    code = f"import signal, sys, time\n{handler}\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"
    process = start(script(code))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert toy.finish(process).status == (5 if handled else -number)


def test_the_fork_of_a_killed_client_is_killed(script):
    process = toy.start_cli([script("import os, signal\nprint(os.getpid(), flush=True)\nsignal.pause()")])
    pid = int(process.stdout.readline())
    assert pid != process.pid
    process.kill()
    process.communicate()  # ends when the fork has closed its output too
    assert process.returncode == -signal.SIGKILL


def test_open_files_are_inherited_with_their_numbers_and_locks(script, tmp_path):
    import fcntl

    _, python = toy.fork_server()
    path = script("import os, sys\nos.write(int(sys.argv[1]), b'from the fork')\nsys.stdin.read()")
    with open(tmp_path / "log", "w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        environment = {**os.environ, **toy.fork_server()[0]}
        words = [python, path, str(log.fileno())]
        process = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, pass_fds=[log.fileno()])
    with open(tmp_path / "log") as log:
        while log.read() != "from the fork":
            log.seek(0)
            assert process.poll() is None
        with pytest.raises(BlockingIOError):
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.communicate()
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_programs_that_it_starts_are_forks_too_and_anything_but_a_script_is_a_new_python(script, tmp_path):
    (tmp_path / "inner.py").write_text("import sys; print('torch' in sys.modules)")
    inner = f"subprocess.run([sys.executable, {str(tmp_path / 'inner.py')!r}], check=True)"
    code = "subprocess.run([sys.executable, '-c', 'import sys; print(\"torch\" in sys.modules)'], check=True)"
    done = toy.run_cli([script(f"import subprocess, sys\n{inner}\n{code}")])
    assert (done.status, done.out, done.err) == (0, "True\nFalse\n", "")
    assert toy.fork_server()[0]["TOY_FORK_PYTHON"] == sys.executable
