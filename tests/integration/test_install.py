"""`make install` in a copy of the project with a made-up Python and PATH: nothing is downloaded."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["make", "sh", "bash", "env", "dirname", "cat", "cksum", "awk", "df", "mkdir", "tail", "cp", "rm", "readlink"]

# Stands in for both python3.11 and .venv/bin/python: records the calls of pip, and fails where $FAIL requests it.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    *"$FAIL"*) echo "made to fail: $*" >&2; exit 1 ;;
    --version) echo "Python $FAKE_VERSION" ;;
    "-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *sysconfig*) echo "$FAKE_INCLUDE" ;;
    *"pip install"*)
        echo "$*" >>pip-calls
        echo "$PIP_USER,$PIP_TARGET$PIP_PREFIX$PIP_ROOT,$PYTHONPATH$PYTHONHOME,$CUDA_HOME$CUDA_PATH" >>pip-settings ;;
esac
"""


class Project:
    """A copy of what `make install` needs, in a folder with a space in its name."""

    def __init__(self, tmp_path):
        self.root = tmp_path / "a copy"
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.add_program("python3.11", FAKE_PYTHON)
        self.add_program("c++", "#!/bin/sh\n")
        (tmp_path / "Python.h").touch()
        self.environment = {
            "PATH": str(self.bin),
            "CI": "true",
            "FAIL": "nothing",
            "FAKE_VERSION": "3.11.9",
            "FAKE_INCLUDE": str(tmp_path),
        }
        shutil.copytree(ROOT / "requirements", self.root / "requirements")
        (self.root / "scripts").mkdir()
        for name in ("Makefile", "setup.py", "pyproject.toml", "scripts/install.sh"):
            shutil.copy(ROOT / name, self.root / name)

    def add_program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make_install(self, *args, **environment):
        return subprocess.run(
            [self.bin / "make", "install", *args],
            cwd=self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def pip_calls(self):
        """The calls of pip since the last call."""
        calls = self.root / "pip-calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return [re.sub(r".*--disable-pip-version-check ", "", line) for line in lines]


@pytest.fixture
def project(tmp_path):
    if os.name != "posix" or shutil.which("make") is None:
        pytest.skip("needs make and a POSIX shell")
    return Project(tmp_path)


TORCH = "-r requirements/torch.txt"
BUILD = "-r requirements/build.txt"
SELF = "--no-build-isolation -e .[dev]"
FAIRSEQ = "--no-build-isolation --no-deps -r requirements/fairseq.txt"


def assert_refused(result, *words):
    """One line of the script's own, then make's."""
    assert result.returncode != 0
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith("install: ")
    for word in words:
        assert word in line


# ---- refused before anything is written ----------------------------------------------------


def test_a_wrong_python_is_refused(project):
    result = project.make_install(FAKE_VERSION="3.9.18")
    assert_refused(result, "Python 3.9.18", "3.11, 3.12 or 3.13 is needed", "PYTHON=")
    assert not (project.root / ".venv").exists()


def test_a_missing_python_is_refused(project):
    assert_refused(project.make_install("PYTHON=python3.77"), "python3.77 not found", "PYTHON=")


def test_a_missing_compiler_is_refused(project):
    (project.bin / "c++").unlink()
    assert_refused(project.make_install(), "no C++ compiler", "apt-get install g++")
    assert not (project.root / ".venv").exists()


def test_too_little_disk_is_refused(project):
    (project.bin / "df").unlink()
    project.add_program("df", "#!/bin/sh\necho header\necho /dev/sda 9 8 1048576 90% /\n")
    assert_refused(project.make_install(), "only 1024 MB free", "3072 MB needed")
    assert not (project.root / ".venv").exists()


def test_a_broken_venv_module_is_refused_after_its_own_error(project):
    result = project.make_install(FAIL="-m venv")
    assert result.returncode != 0
    own, line = [line for line in result.stderr.splitlines() if not line.startswith("make:")]
    assert own.startswith("made to fail: -m venv") and "-m venv' failed" in line and "python3-venv" in line


def test_a_venv_that_is_a_symbolic_link_is_refused_and_kept(project, tmp_path):
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "mine").touch()
    (project.root / ".venv").symlink_to(other)
    assert_refused(project.make_install(), ".venv", str(other))
    assert (other / "bin" / "mine").exists() and project.pip_calls() == []


def test_a_working_venv_of_the_users_is_refused_and_kept(project):
    folder = project.root / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(FAKE_PYTHON)
    (folder / "python").chmod(0o755)
    (folder / "mine").touch()
    assert_refused(project.make_install(), ".venv", "did not make")
    assert (folder / "mine").exists() and project.pip_calls() == []


def test_missing_headers_are_refused(project):
    assert_refused(project.make_install(FAKE_INCLUDE="/nowhere"), "Python.h not found", "python3-dev")
    assert project.pip_calls() == []


def test_the_newest_python_is_taken_where_it_is_the_only_one(project):
    (project.bin / "python3.11").rename(project.bin / "python3.13")
    assert project.make_install(FAKE_VERSION="3.13.1").returncode == 0
    assert project.pip_calls() == [TORCH, BUILD, SELF, FAIRSEQ]


def test_a_python_beyond_the_newest_is_refused(project):
    assert_refused(project.make_install(FAKE_VERSION="3.14.0"), "Python 3.14.0", "3.13")


def test_settings_of_clusters_and_conda_do_not_reach_pip(project):
    settings = {"PIP_USER": "1", "PIP_TARGET": "/elsewhere", "PIP_PREFIX": "/elsewhere", "PIP_ROOT": "/elsewhere",
                "PYTHONPATH": "/elsewhere", "PYTHONHOME": "/elsewhere", "CUDA_HOME": "/usr/local/cuda",
                "CUDA_PATH": "/usr/local/cuda", "CONDA_PREFIX": "/opt/conda"}  # fmt: skip
    done = project.make_install(**settings)
    assert done.returncode == 0, done.stderr
    assert set((project.root / "pip-settings").read_text().split()) == {"0,,,"}


# ---- done, and done only once -------------------------------------------------------------------


def test_the_steps_run_in_order_and_only_once(project):
    first = project.make_install()
    assert first.returncode == 0, first.stderr
    assert re.findall(r"^\[(\d)/5\]", first.stdout, flags=re.MULTILINE) == ["1", "2", "3", "4", "5"]
    assert project.pip_calls() == [TORCH, BUILD, SELF, FAIRSEQ]

    (project.bin / "c++").unlink()  # a finished environment does not need a compiler
    second = project.make_install()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert project.pip_calls() == []


def test_an_interrupted_install_resumes_where_it_stopped(project):
    broken = project.make_install(FAIL="fairseq.txt")
    assert broken.returncode != 0
    assert "made to fail" in broken.stderr
    assert "step 'fairseq' failed" in broken.stderr
    assert project.pip_calls() == [TORCH, BUILD, SELF]

    resumed = project.make_install()
    assert resumed.returncode == 0
    assert resumed.stdout.startswith("[5/5] fairseq")
    assert project.pip_calls() == [FAIRSEQ]


def test_an_incomplete_venv_is_rebuilt(project):
    (project.root / ".venv" / "bin").mkdir(parents=True)
    assert project.make_install().returncode == 0
    assert project.pip_calls() == [TORCH, BUILD, SELF, FAIRSEQ]


def test_a_changed_pin_repeats_the_dependent_steps(project):
    project.make_install()
    project.pip_calls()
    with open(project.root / "requirements" / "dev.txt", "a") as file:
        file.write("# changed\n")
    project.make_install()
    assert project.pip_calls() == [SELF]


def test_a_moved_project_gets_a_new_venv(project):
    project.make_install()
    project.pip_calls()
    project.root = project.root.rename(project.root.with_name("elsewhere"))
    project.make_install()
    assert project.pip_calls() == [TORCH, BUILD, SELF, FAIRSEQ]


def test_a_fairseq_built_against_another_torch_is_built_again(project):
    result = project.make_install(FAIL="import fairseq.libbleu")
    assert result.returncode != 0
    assert project.pip_calls()[3:] == [FAIRSEQ, f"--force-reinstall --no-cache-dir {FAIRSEQ}"]


def test_each_version_is_pinned_once():
    names = []
    for path in (ROOT / "requirements").glob("*.txt"):
        names += re.findall(r"^([\w-]+)[=~<>]", path.read_text(), flags=re.MULTILINE)
    assert sorted(names) == sorted(set(names))
    pin = re.compile(rf"\b({'|'.join(names)})[=~<>]=?\s*\d")
    for user in ("setup.py", "Makefile", "scripts/install.sh", ".github/workflows/ci.yml"):
        assert pin.findall((ROOT / user).read_text()) == [], f"{user} repeats a pin"
