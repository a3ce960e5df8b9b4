"""scripts/doctor.py: what it reports on this installation, on an empty one and on broken ones."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCTOR = ROOT / "scripts" / "doctor.py"


@pytest.fixture
def doctor(load_script):
    return load_script("doctor")


def run_doctor(*args, python_flags=()):
    command = [sys.executable, *python_flags, str(DOCTOR), *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_whole_installation_has_no_problems():
    result = run_doctor("--json")
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert result.returncode == 0
    assert report["packages"]["torch"]["version"].startswith("2.13.0")
    assert report["packages"]["fairseq-fixed"]["version"] == "0.12.3.1"
    assert report["devices"]["cpu_count"] >= 1
    assert report["repairs"], "plugins/compat.py repaired nothing"
    assert all(repair["name"] and repair["what"] for repair in report["repairs"])


def test_an_empty_installation_gets_one_line_for_each_missing_package():
    result = run_doctor(python_flags=["-S"])  # -S: no site-packages
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    assert result.returncode == 1
    assert result.stderr == ""
    assert problems[0].startswith("problem: torch==2.13.0 is missing; ")
    assert problems[0].endswith("-m pip install -r requirements/torch.txt")
    assert problems[1].endswith("-m pip install --no-build-isolation --no-deps -r requirements/fairseq.txt")
    assert len(problems) == 16
    assert "not the project's own" in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['doctor.py', '--help']\n"
        f"sys.path.insert(0, {str(DOCTOR.parent)!r})\n"
        "try:\n"
        f"    runpy.run_path({str(DOCTOR)!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    print('loaded', *{'torch', 'fairseq', 'numpy', 'plugins'} & set(sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--json" in result.stdout
    assert result.stdout.splitlines()[-1] == "loaded"


def test_a_version_out_of_range_is_a_problem(doctor, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.26.4")
    [[what, cure]] = doctor.package_problems(doctor.package_state("numpy==2.4.*", "core"))
    assert what == "numpy==2.4.* is needed, 1.26.4 is installed"
    assert cure.endswith(" install -r requirements/core.txt")


def test_a_local_build_of_a_pinned_version_fits(doctor):
    assert doctor.version_fits("torch==2.13.0", "2.13.0+cpu")
    assert not doctor.version_fits("torch==2.13.0", "2.14.0+cpu")


@pytest.mark.parametrize(
    "failing, error, what, cure",
    [
        ("fairseq.libnat", ImportError("no symbol _ZN\nmore"), "no symbol _ZN", "remove .venv"),
        ("plugins.compat", ModuleNotFoundError("no plugins", name="plugins"), "no plugins", "install -e ."),
        ("plugins.compat", SyntaxError("bad"), "SyntaxError: bad", "-c 'import plugins.compat'"),
    ],
)
def test_a_package_that_does_not_import_is_a_problem(doctor, monkeypatch, failing, error, what, cure):
    def import_module(name):
        if name == failing:
            raise error

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    [[found, advice]] = doctor.import_problems()
    assert found.startswith(f"import {failing} fails with ")
    assert found.endswith(what)
    assert cure in advice


@pytest.mark.parametrize("fairseq_version, expected", [(None, 1), ("0.12.3.1", 0)])
def test_a_compiler_is_required_only_while_fairseq_is_missing(doctor, monkeypatch, fairseq_version, expected):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "import_problems", lambda: [["stop", "here"]])
    real_state = doctor.package_state

    def package_state(requirement, part):
        fairseq = {"version": fairseq_version, "ok": fairseq_version is not None}
        return real_state(requirement, part) | (fairseq if part == "fairseq" else {})

    monkeypatch.setattr(doctor, "package_state", package_state)
    problems = [problem["what"] for problem in doctor.examine()["problems"]]
    assert sum("C++ compiler" in what for what in problems) == expected


def test_text_names_devices_extras_and_repairs(doctor):
    text = doctor.as_text(
        {
            "python": {"version": "3.11.7", "executable": "/x/python", "in_venv": True},
            "packages": {"numpy": {"name": "numpy", "version": "2.4.6"}},
            "extras": {"hf": {"installed": {"peft": "0.21.2"}, "missing": ["tokenizers"], "install": "pip install X"}},
            "devices": {
                "cpu_count": 8,
                "cpu_capability": "AVX2",
                "cpu_bf16": False,
                "cuda": [{"name": "NVIDIA H200", "bf16": True}],
            },
            "compiler": None,
            "repairs": [{"name": "safe_globals", "what": "lets fairseq resume"}],
            "problems": [],
        }
    )
    assert text.splitlines() == [
        "python                3.11.7  /x/python",
        "numpy                 2.4.6",
        "compiler              none (only building fairseq needs one)",
        "cpu                   8 cores, AVX2, bf16 no",
        "cuda:0                NVIDIA H200, bf16 yes",
        "",
        "extras",
        "  hf                  peft 0.21.2; missing tokenizers; pip install X",
        "",
        "repaired by plugins/compat",
        "  safe_globals        lets fairseq resume",
        "",
        "no problems",
    ]
