"""The wheel and the sdist: built, installed offline into a fresh environment, used from another folder."""

import os
import shutil
import subprocess
import sys
import tarfile
import time
import venv
from pathlib import Path

import pytest
import toy

pytestmark = pytest.mark.slow
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_USER", "PIP_TARGET")}


def call(*words, cwd):
    return subprocess.run(list(map(str, words)), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the files that are not ignored by version control."""
    folder = tmp_path_factory.mktemp("sources") / "project"
    listed = call("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=toy.ROOT)
    if listed.returncode:
        pytest.skip("needs a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (toy.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(toy.ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(sources):
    """The folder with the sdist, and with the wheel that is built from the unpacked sdist."""
    hooks = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    dist = sources.parent / "dist"
    dist.mkdir()
    done = call(sys.executable, "-c", hooks, "build_sdist", dist, cwd=sources)
    assert done.returncode == 0, done.stderr
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(sources.parent / "unpacked", filter="data")
    (unpacked,) = (sources.parent / "unpacked").iterdir()
    done = call(sys.executable, "-c", hooks, "build_wheel", dist, cwd=unpacked)
    assert done.returncode == 0, done.stderr
    return dist


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The ``bin`` folder of a new environment with the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (wheel,) = built.glob("*.whl")
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    done = call(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    of_tests = next(path for path in sys.path if Path(path, "torch").is_dir())
    (packages / "dependencies.pth").write_text(of_tests + "\n")  # a path alone: its own .pth files are not read
    return folder / "bin"


def test_the_commands_are_listed_at_once(installed, tmp_path):
    start = time.perf_counter()
    done = call(installed / "fairseq-workbench", cwd=tmp_path)
    seconds = time.perf_counter() - start
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    scripts = [path.stem for path in sorted((toy.ROOT / "scripts").glob("[!_]*.py")) if "__main__" in path.read_text()]
    assert (done.returncode, names) == (0, scripts) and seconds < 5  # 0.1 s on an idle machine


def test_a_commands_help_imports_nothing_heavy(installed, tmp_path):
    program = installed / "fairseq-workbench"
    done = call(installed / "python", "-X", "importtime", program, "sample", "--help", cwd=tmp_path)
    assert done.stdout.startswith("usage: fairseq-workbench sample"), done.stderr[-500:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "fairseq", "plugins", "numpy"}


def test_a_command_works_from_another_folder(installed, tmp_path, toy_data):
    (tmp_path / "model").mkdir()
    model = toy.save_masked_lm(tmp_path / "model", toy_data, **toy.VARIANTS["zero_clap"])
    words = ["plot_attention", model, "the <mask> follows a river .", "-o", "attention.png"]
    done = call(installed / "fairseq-workbench", *words, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "attention.png").stat().st_size > 1000, done.stderr[-2000:]


def test_an_unknown_command_is_refused_with_the_nearest(installed, tmp_path):
    done = call(installed / "fairseq-workbench", "samlpe", cwd=tmp_path)
    assert done.returncode == 2 and "'samlpe'" in done.stderr and "sample" in done.stderr
