"""scripts/command.py: how every command ends without its environment, after Ctrl-C, and with a status."""

import os
import subprocess
import sys

import pytest
import toy

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


@pytest.fixture
def run(load_script):
    return load_script("command").run


@pytest.mark.parametrize("words", [
    ["sample.py", __file__],
    ["plot_runs.py", os.path.dirname(__file__), "-o", "plots"],
    ["prepare_mlm.py", "--embedded", "-o", "folder"],
], ids=lambda words: words[0])  # fmt: skip
def test_without_the_environment_one_line_says_how_to_activate_it(words, tmp_path):
    command = [sys.executable, "-S", toy.ROOT / "scripts" / words[0], *words[1:]]  # -S: no site-packages
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: ") and ".venv/bin/activate" in line


def test_another_missing_package_keeps_its_own_error(run):
    def main():
        import no_such_package  # noqa: F401

    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        run(main)


def test_ctrl_c_ends_with_the_commands_own_line(run):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="resume"):
        run(main, "run it again to resume")


def test_the_status_of_a_command_is_the_exit_status(run):
    with pytest.raises(SystemExit) as ended:
        run(lambda: 3)
    assert ended.value.code == 3
    run(lambda: None)
