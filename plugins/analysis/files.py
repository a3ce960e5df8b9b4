"""Texts in, texts and JSON out, with errors in one line."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plugins.errors import UserError


@contextmanager
def opened(path: str | Path) -> Iterator:
    """Open a text in UTF-8, its line breaks as they are.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); convert it") from error


def make_folder(path: str | Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        UserError: it cannot be made, or a file has its name.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a folder to write to") from error


def write_json(path: str | Path, content) -> None:
    """Write data as JSON; see :func:`write_text`."""
    write_text(path, json.dumps(content) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
