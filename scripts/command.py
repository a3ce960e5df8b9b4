"""Helpers shared by the commands. Imports nothing heavy, so that ``--help`` is fast."""

import argparse
import difflib
import math
import os
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import choices

PACKAGES = {"plugins", "torch", "fairseq", "numpy", "scipy", "sklearn", "sentencepiece", "hydra", "omegaconf"}
ACTIVATE = "run `make install` once, then `source .venv/bin/activate`, or start the script with .venv/bin/python"

PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin", "/dev/null")  # readable although no regular files
LARGE = 100_000_000  # bytes that take seconds to convert
WEIGHTS = ("*.safetensors", "*.bin", "model.pt")
PICTURES = (".eps", ".jpeg", ".jpg", ".pdf", ".pgf", ".png", ".ps", ".svg", ".svgz", ".tif", ".tiff", ".webp", "")
MAY_BE_EMPTY = ("TEXT", "SENTENCE", "'--FLAG ...'")  # metavars
TEXTS = ("TEXT", "SENTENCE", "WORD", "COLUMN", "NAME", "KEY", "S")  # metavars of values that are no paths
NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")  # argparse takes -1e-3 for an option
CHECKPOINTS = ("checkpoint_best.pt", "checkpoint_last.pt")  # as plugins.checkpoints.find_checkpoint

Paths = Iterable[str | Path | None]


class Parser(argparse.ArgumentParser):
    """A parser of arguments that escapes the control characters of file names in its errors.

    Empty values, except of :data:`MAY_BE_EMPTY`, and numbers that are not finite are errors.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = NEGATIVE

    def _get_value(self, action: argparse.Action, text: str) -> object:
        if text == "" and action.metavar not in MAY_BE_EMPTY and action.default != "":
            raise argparse.ArgumentError(action, "the value is empty")
        if action.metavar in TEXTS and file_named(text) is None:
            text = decoded(text, action)
        value = super()._get_value(action, text)
        if isinstance(value, float) and not math.isfinite(value):
            raise argparse.ArgumentError(action, f"must be a finite number, but is {text}")
        return value

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error; exit with status 2."""
        super().error(escaped(message))


def decoded(text: str, action: argparse.Action) -> str:
    """Return an argument as Unicode; Python replaces its bytes by surrogates where the locale's encoding is ASCII.

    Raises:
        argparse.ArgumentError: it is not UTF-8.
    """
    if not re.search("[\ud800-\udfff]", text):
        return text
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise argparse.ArgumentError(action, f"{text!r} is not UTF-8") from None


def escaped(text: object) -> str:
    """Return a text in which all characters are printable; others are escaped as in Python, ESC as ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def stop(message: str) -> NoReturn:
    """Print one line on stderr and exit with status 1, as an uncaught :class:`plugins.errors.UserError` does."""
    sys.exit(f"error: {escaped(message)}")


def check_inputs(files: Paths = (), paths: Paths = (), checkpoints: Paths = ()) -> None:
    """Exit with a one-line error if an input is missing or cannot be read, before the seconds of the heavy imports.

    None is skipped. :func:`plugins.files.check_readable` checks the same when a file is opened.

    Args:
        files: regular files, and the pipes of process substitutions, ``<(command)``.
        paths: files or folders.
        checkpoints: checkpoint files, or folders with one or with a model of transformers.
    """
    for kind, given in (("file", files), ("path", paths), ("checkpoint", checkpoints)):
        for path in given:
            if path is not None and (problem := problem_of(path, kind)):
                stop(f"{path}: {problem}")


def problem_of(path: str | Path, kind: str) -> str | None:
    """Return why an input cannot be read, or None."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        missing = isinstance(error, FileNotFoundError) and kind == "checkpoint"
        return "no such checkpoint" if missing else getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(mode) and kind == "file":
        return "a folder; name a file"
    if stat.S_ISDIR(mode) and kind == "checkpoint":
        names = (*CHECKPOINTS, "config.json")  # the last of a folder of transformers
        if not any(os.path.exists(os.path.join(path, name)) for name in names):
            return f"neither {' nor '.join(CHECKPOINTS)} in this folder; name the checkpoint file"
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode) or str(path).startswith(PIPES)):  # a named pipe blocks
        return "not a regular file; write its content to a file and name that"
    return None if os.access(path, os.R_OK) else "Permission denied"


def check_outputs(files: Paths = (), folders: Paths = (), figures: Paths = ()) -> None:
    """Exit with a one-line error if an output cannot be written, before any work; None is skipped.

    Args:
        files: files to write; a pipe or a device, ``/dev/stdout``, is allowed.
        folders: folders to write into; they and their parents are created later.
        figures: files to write in a format of matplotlib.
    """
    for kind, given in (("file", files), ("folder", folders), ("figure", figures)):
        for path in given:
            if path is not None and (problem := problem_of_output(path, kind)):
                stop(f"{path}: {problem}")


def problem_of_output(path: str | Path, kind: str) -> str | None:
    """Return why an output cannot be written, or None."""
    if not str(path) or "\0" in str(path):
        return f"not a path; name a {kind}"
    if kind == "figure" and Path(path).suffix.lower() not in PICTURES:
        return f"matplotlib cannot write {Path(path).suffix}; use .png, .svg or .pdf"
    if os.path.isdir(path):
        return None if kind == "folder" and os.access(path, os.W_OK) else (
            "Permission denied" if kind == "folder" else "a folder; name a file")  # fmt: skip
    if os.path.exists(path):
        if kind == "folder":
            return "a file; name a folder to write to"
        if not os.path.isfile(path):  # a pipe or a device is not replaced
            return None if os.access(path, os.W_OK) else "Permission denied"
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        return f"{parent} is not a folder; name another place"
    return None if os.access(parent, os.W_OK | os.X_OK) else f"Permission denied in {parent}"


def check_names(given: Iterable[str | None], known: Iterable[str], flag: str) -> None:
    """Exit with a one-line error if a value is none of the known names; None is skipped.

    Args:
        given: what the user named.
        known: the names that there are (:mod:`choices`).
        flag: the option, for the error.
    """
    known = list(known)
    for name in given:
        if name is not None and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            stop(f"{flag} {name}: {f'did you mean {near[0]}? ' if near else ''}there are {', '.join(known)}")


def check_contains(folder: str | Path | None, *alternatives: Iterable[str]) -> None:
    """Exit with a one-line error if a folder has the files of no alternative; None is skipped."""
    if folder is not None and not any(all(os.path.exists(os.path.join(folder, n)) for n in a) for a in alternatives):
        stop(f"{folder}: no folder with {', or with '.join(' and '.join(names) for names in alternatives)}")


def check_tasks(given: Iterable[str | None], flag: str, folder: str | None = None, own: bool = True) -> None:
    """Exit with a one-line error if a task is not one of GLUE's (``SST-2``, ``sst2``), or has no folder.

    Args:
        given: names, or None.
        flag: the option, for the error.
        folder: contains the folders of the tasks, or files of one; None: not checked.
        own: YAML files are allowed; :func:`check_inputs` checks that they exist.
    """

    def plain(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    found = {plain(name): name for name in choices.GLUE_TASKS}
    tasks = [name for name in given if name is not None and not (own and name.endswith((".yaml", ".yml")))]
    check_names((name for name in tasks if plain(name) not in found), choices.GLUE_TASKS, flag)
    if folder is None or not os.path.isdir(folder) or any(entry.is_file() for entry in os.scandir(folder)):
        return
    there = {plain(entry.name) for entry in os.scandir(folder)}
    for name in tasks:
        if plain(name) not in there and not (plain(name) == "ax" and "diagnostic" in there):
            stop(f"{flag} {name}: {folder} has no folder {found[plain(name)]}")


def device(text: str) -> str:
    """Return the value of ``--device``, or exit with a one-line error if it is not the name of a device."""
    if not re.fullmatch(r"(cpu|cuda|mps|xpu|hpu|xla|npu)(:\d+)?", text):
        stop(f"--device {text}: no such device; name cpu, cuda, or cuda:1 for the second GPU")
    return text


def announce(verb: str, source: str | Path) -> None:
    """Print on stderr what is being read, with its size, if it is large enough to take seconds.

    Args:
        verb: what happens to it, for example ``converting``.
        source: a checkpoint or another file, or a folder with weights.
    """
    folder = Path(source)
    files = [folder]
    if folder.is_dir():
        best = [folder / name for name in CHECKPOINTS if (folder / name).is_file()][:1]
        files = best or [file for kind in WEIGHTS for file in folder.glob(kind)]
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size >= LARGE:
        print(f"{escaped(verb)} {escaped(source)} ({size / 1e6:,.0f} MB)", file=sys.stderr, flush=True)


def file_named(text: str) -> str | None:
    """Return the path in an argument ``FILE:path``, or None for one that is a text itself."""
    return text.removeprefix("FILE:") if text.startswith("FILE:") else None


def add_user_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--user-dir``; pass its value to :func:`plugins.user_dir.load` before a checkpoint is loaded."""
    help = "plugin package of your own that registers the model"
    parser.add_argument("--user-dir", type=plugin_folder, metavar="DIR", help=help)


def plugin_folder(folder: str) -> str:
    """Return the value of ``--user-dir``, or exit with a one-line error if it is not a package."""
    if not os.path.isfile(os.path.join(folder, "__init__.py")):
        stop(f"--user-dir {folder}: not a package (a folder with __init__.py)")
    return folder


def run(main: Callable[[], int | None], interrupted: str = "\ninterrupted") -> None:
    """Run a command; exit with one line after Ctrl-C or SIGTERM, or if this Python lacks the project's packages.

    Args:
        main: the command; it returns its exit status, or None.
        interrupted: what to print after Ctrl-C or SIGTERM, which both remove temporary files.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: `... >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = flushing(main)
    except KeyboardInterrupt:
        sys.exit(interrupted)
    except BrokenPipeError:  # the reader of the output has ended: `... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the flush at the end of Python
        sys.exit(128 + signal.SIGPIPE)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(f"error: {sys.executable} has no package {error.name!r}: {ACTIVATE}")
    finally:
        signal.signal(signal.SIGTERM, before)
    if status:
        sys.exit(status)


def flushing(main: Callable[[], int | None]) -> int | None:
    """Call a command and flush its output, so that a closed pipe is noticed here; return its exit status."""
    try:
        status = main()
    except SystemExit:
        print(end="", flush=True)
        raise
    print(end="", flush=True)
    return status


def shipped(folder: str) -> Path:
    """Return a folder that commands read: of the checkout, or inside their package when installed (see setup.py)."""
    here = Path(__file__).resolve().parent
    inside = here / Path(folder).name
    return inside if inside.is_dir() else here.parent / folder
