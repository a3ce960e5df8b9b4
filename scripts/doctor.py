#!/usr/bin/env python
"""Report the installed packages, the devices, and missing parts with the command that adds each.

Only the standard library is imported at the top: this must also work where torch or fairseq is missing.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import command

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("plots", "hf", "datasets", "summarization", "gpu", "dev")
PYTHON_RANGE = ((3, 11), (3, 14))  # as python_requires in setup.py


def main(argv=None):
    parser = command.Parser(
        description="Print versions, devices and repairs, and what is missing with the command that adds it.",
        epilog="Exit status: 0 when everything required is there, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    args = parser.parse_args(argv)
    report = examine()
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    return 1 if report["problems"] else 0


def examine():
    """The whole report, as plain data."""
    packages = {p["name"]: p for part in ("torch", "fairseq", "core") for p in packages_of(part)}
    problems = python_problems() + [problem for p in packages.values() for problem in package_problems(p)]
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None and not packages["fairseq-fixed"]["version"]:
        problems.append(["no C++ compiler, which fairseq needs", "Debian, Ubuntu: apt-get install g++"])
    repairs = []
    if not problems:  # otherwise the imports fail for the reasons already listed
        problems += import_problems()
    if not problems:
        repairs = [list(repair) for repair in importlib.import_module("plugins.compat").REPAIRS]
    return {
        "python": {"version": sys.version.split()[0], "executable": sys.executable, "in_venv": in_own_venv()},
        "packages": packages,
        "extras": {extra: extra_state(extra) for extra in EXTRAS},
        "devices": devices(),
        "compiler": compiler,
        "repairs": [{"name": name, "what": what} for name, what in repairs],
        "problems": [{"what": what, "cure": cure} for what, cure in problems],
    }


# ---- packages ------------------------------------------------------------------------------------


def packages_of(part):
    """The requirements in requirements/PART.txt and their installed versions."""
    lines = (command.shipped("requirements") / f"{part}.txt").read_text(encoding="utf-8").splitlines()
    return [package_state(line.strip(), part) for line in lines if re.match(r"\w", line)]


def package_state(requirement, part):
    name = re.match(r"[\w.-]+", requirement).group()
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    fits = version is not None and version_fits(requirement, version)
    return {"name": name, "requirement": requirement, "version": version, "ok": fits, "part": part}


def version_fits(requirement, version):
    """Whether a version is in a requirement's range; True if `packaging` is missing and the check is impossible."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return True
    return Requirement(requirement).specifier.contains(version, prereleases=True)


def package_problems(package):
    if package["ok"]:
        return []
    # fairseq must be compiled against the installed torch, and requires a torchaudio that nothing uses.
    flags = "--no-build-isolation --no-deps " if package["part"] == "fairseq" else ""
    what = f"{package['requirement']} is missing"
    if package["version"]:
        what = f"{package['requirement']} is needed, {package['version']} is installed"
    return [[what, f"{pip()} install {flags}-r requirements/{package['part']}.txt"]]


def extra_state(extra):
    packages = packages_of(extra)
    return {
        "installed": {p["name"]: p["version"] for p in packages if p["ok"]},
        "missing": [p["requirement"] for p in packages if not p["ok"]],
        "install": f"{pip()} install -e '.[{extra}]'",
    }


# ---- the interpreter, the imports, the machine ---------------------------------------------------


def in_own_venv():
    return Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()


def pip():
    return ".venv/bin/pip" if in_own_venv() else f"{shlex.quote(sys.executable)} -m pip"


def python_problems():
    low, high = PYTHON_RANGE
    if low <= sys.version_info[:2] < high:
        return []
    what = f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}"
    return [[what, "make install PYTHON=/path/to/python3.11"]]


def import_problems():
    """Installed modules that fail to import, for example compiled parts after a change of torch."""
    for module in ("torch", "fairseq", "fairseq.libnat", "fairseq.data.data_utils_fast", "plugins.compat"):
        try:
            with contextlib.redirect_stdout(sys.stderr):  # keeps --json clean
                importlib.import_module(module)
        except Exception as error:  # any failure belongs in the report
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return [[f"import {module} fails with {reason}", import_cure(module, error)]]
    return []


def import_cure(module, error):
    if getattr(error, "name", None) == "plugins":
        return f"{pip()} install -e ."
    if module.startswith("plugins"):
        return f"for the traceback run: {shlex.quote(sys.executable)} -c 'import {module}'"
    return "remove .venv and run make install"


def devices():
    state = {"cpu_count": os.cpu_count(), "cpu_capability": None, "cpu_bf16": None, "cuda": []}
    try:
        import torch
    except Exception:  # missing or broken; see `problems`
        return state
    state["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    with contextlib.suppress(Exception):  # fairseq missing or broken; see `problems`
        from plugins.compat.precision import cpu_has_bfloat16

        state["cpu_bf16"] = cpu_has_bfloat16()
    for i in range(torch.cuda.device_count()):
        with torch.cuda.device(i):
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        state["cuda"].append({"name": torch.cuda.get_device_name(i), "bf16": bf16})
    return state


# ---- text ----------------------------------------------------------------------------------------


def as_text(report):
    python = report["python"]
    lines = [row("python", f"{python['version']}  {python['executable']}")]
    if not python["in_venv"]:
        lines.append(row("", "not the project's own, which is .venv/bin/python after make install"))
    lines += [row(p["name"], p["version"] or "missing") for p in report["packages"].values()]
    lines += [row("compiler", report["compiler"] or "none (only building fairseq needs one)")]
    lines += device_lines(report["devices"])
    lines += ["", "extras"]
    lines += [row(f"  {name}", extra_text(extra)) for name, extra in report["extras"].items()]
    if report["repairs"]:
        lines += ["", "repaired by plugins/compat"]
        lines += [row(f"  {repair['name']}", repair["what"]) for repair in report["repairs"]]
    problems = [f"problem: {p['what']}; {p['cure']}" for p in report["problems"]]
    return "\n".join([*lines, "", *(problems or ["no problems"])])


def row(name, value):
    return f"{name:<21} {value}"


def device_lines(state):
    capability = f", {state['cpu_capability']}" if state["cpu_capability"] else ""
    lines = [row("cpu", f"{state['cpu_count']} cores{capability}{bf16_text(state['cpu_bf16'])}")]
    for i, device in enumerate(state["cuda"]):
        lines.append(row(f"cuda:{i}", f"{device['name']}{bf16_text(device['bf16'])}"))
    return lines if state["cuda"] else [*lines, row("cuda", "no device")]


def bf16_text(has_it):
    """Whether --mixed-precision bf16 runs on a device; nothing where that is not known."""
    return "" if has_it is None else f", bf16 {'yes' if has_it else 'no'}"


def extra_text(extra):
    installed = ", ".join(f"{name} {version}" for name, version in extra["installed"].items())
    if not extra["missing"]:
        return installed
    lacking = f"missing {', '.join(extra['missing'])}; {extra['install']}"
    return f"{installed}; {lacking}" if installed else lacking


if __name__ == "__main__":
    command.run(main)
