"""What the commands share. Imports nothing heavy, so that ``--help`` is fast."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

PACKAGES = {"plugins", "torch", "fairseq", "numpy", "scipy", "sklearn", "sentencepiece", "hydra", "omegaconf"}
ACTIVATE = "run `make install` once, then `source .venv/bin/activate`, or start the script with .venv/bin/python"


def add_user_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--user-dir``; pass its value to :func:`plugins.user_dir.load` before a checkpoint is loaded."""
    parser.add_argument("--user-dir", metavar="DIR", help="plugin package of your own that registers the model")


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
