"""Helpers shared by the commands. Imports nothing heavy, so that ``--help`` is fast."""

import argparse
import csv
import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

PACKAGES = {"plugins", "torch", "fairseq", "numpy", "scipy", "sklearn", "sentencepiece", "hydra", "omegaconf"}
ACTIVATE = "run `make install` once, then `source .venv/bin/activate`, or start the script with .venv/bin/python"

PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin", "/dev/null")  # readable although no regular files
LONGEST_HEADER = 1 << 16  # characters
CHECKPOINTS = ("checkpoint_best.pt", "checkpoint_last.pt")  # as plugins.checkpoints.find_checkpoint

Paths = Iterable[str | Path | None]


class Parser(argparse.ArgumentParser):
    """A parser of arguments that escapes the control characters of file names in its errors."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error; exit with status 2."""
        super().error(escaped(message))


def escaped(text: object) -> str:
    """Return a text in which all characters are printable; others are escaped as in Python, ESC as ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def stop(message: str) -> NoReturn:
    """End with one line on stderr and exit status 1, as an uncaught :class:`plugins.errors.UserError` does."""
    sys.exit(f"error: {escaped(message)}")


def check_inputs(files: Paths = (), paths: Paths = (), checkpoints: Paths = ()) -> None:
    """End with one line if an input is missing or cannot be read, before the seconds of the heavy imports.

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


def check_columns(path: str | Path | None, names: Iterable[str | None], flag: str) -> None:
    """End with one line if the header of a CSV or TSV file lacks a column; other formats are checked when read.

    Args:
        path: the file; None is skipped.
        names: columns that the user named; None is skipped.
        flag: the option that names them, for the error.
    """
    wanted = [name for name in names if name is not None]
    suffix = Path(path or "").suffix.lower()
    if not wanted or suffix not in (".csv", ".tsv") or not os.path.isfile(path):
        return
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = file.readline(LONGEST_HEADER)
    except (OSError, UnicodeDecodeError):  # compressed, or in another encoding: the reader reports it
        return
    if not line.strip() or not line.endswith("\n") or line.count('"') % 2:
        return  # empty, or a header that continues on the next line
    for name in wanted:
        if name.casefold() not in line.replace('""', '"').casefold():  # wherever the delimiters are
            columns = next(csv.reader([line], delimiter="\t" if suffix == ".tsv" else ","))
            stop(f"{flag} {name}: {path} has no such column; there are {', '.join(columns)[:200]}")


def file_named(text: str) -> str | None:
    """Return the path in an argument ``FILE:path``, or None for one that is a text itself."""
    return text.removeprefix("FILE:") if text.startswith("FILE:") else None


def add_user_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--user-dir``; pass its value to :func:`plugins.user_dir.load` before a checkpoint is loaded."""
    help = "plugin package of your own that registers the model"
    parser.add_argument("--user-dir", type=plugin_folder, metavar="DIR", help=help)


def plugin_folder(folder: str) -> str:
    """Return the value of ``--user-dir``, or end with one line if it is no package."""
    if not os.path.isfile(os.path.join(folder, "__init__.py")):
        stop(f"--user-dir {folder}: not a package (a folder with __init__.py)")
    return folder


def run(main: Callable[[], int | None], interrupted: str = "\ninterrupted") -> None:
    """Run a command; end in one line after Ctrl-C and in a Python without this project's environment.

    Args:
        main: the command; it returns its exit status, or None.
        interrupted: what to print after Ctrl-C.
    """
    try:
        status = main()
    except KeyboardInterrupt:
        sys.exit(interrupted)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(f"error: {sys.executable} has no package {error.name!r}: {ACTIVATE}")
    if status:
        sys.exit(status)


def shipped(folder: str) -> Path:
    """Return a folder that commands read: of the checkout, or inside their package when installed (see setup.py)."""
    here = Path(__file__).resolve().parent
    inside = here / Path(folder).name
    return inside if inside.is_dir() else here.parent / folder
