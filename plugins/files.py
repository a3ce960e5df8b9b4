"""Files that are read or written whole, with errors in one line."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plugins.errors import UserError


@contextmanager
def opened(path: str | Path) -> Iterator:
    """Open a text in UTF-8, its line breaks as they are, without a byte-order mark.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); convert it") from error


def read_yaml(path: str | Path, texts: bool = False):
    """Return what a YAML file holds, with ``texts`` every scalar as it is written: else yes, no and 1 are not texts.

    Raises:
        UserError: it cannot be read, or is not YAML; with the line where that is known.
    """
    import yaml

    try:
        with opened(path) as file:
            return yaml.load(file, Loader=yaml.BaseLoader if texts else yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}{line}: not YAML: {problem}") from None


def make_folder(path: str | Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        UserError: it cannot be made, or a file has its name.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a folder to write to") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a path beside this one to write to, which replaces it when the block ends well and is gone when it does not.

    Folders above it are made. A pipe or a device, such as /dev/null, is given itself: no file may take its place.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(path)
    special = path.exists() and not path.is_file() and not path.is_dir()
    part = path if special else path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if not special:
            os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if not special:
            with suppress(OSError):  # it was renamed, or never made
                part.unlink()


def write_json(path: str | Path, content, indent: int | None = None) -> None:
    """Write data as JSON; see :func:`replacing`."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8; see :func:`replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
