"""Read the characters of a model without a dictionary, in the formats of nanoGPT and its derivatives."""

import os
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from plugins.errors import UserError, shown
from plugins.files import read_json


def read_characters(source: str | os.PathLike | Sequence[str] | Mapping) -> list[str]:
    """Return the characters of a model in the order of its indices.

    Args:
        source: a list or a string of the characters; a dict {index: character}; the path of a JSON file with one of
            these, or of nanoGPT's ``meta.pkl``, which is read as plain data without running code. A string is a path
            if it ends in ``.json`` or ``.pkl``.

    Raises:
        UserError: a file cannot be read or contains more than plain data; an entry is not a character, a character
            is duplicate, or the indices have gaps.
    """
    name = "the characters"
    if isinstance(source, os.PathLike) or (isinstance(source, str) and source.endswith((".json", ".pkl"))):
        name, source = source, read_file(source)
    if isinstance(source, dict) and isinstance(source.get("itos"), dict | list):
        source = source["itos"]
    if isinstance(source, dict):
        source = in_order(source, name)
    if not isinstance(source, list | tuple | str):
        raise UserError(f"{name}: {type(source).__name__} found, but a list or a dict of characters is needed")
    characters = list(source)
    for i, character in enumerate(characters):
        if not isinstance(character, str) or len(character) != 1:  # the repr of a structure of references has no limit
            found = shown(character, 40) if isinstance(character, str) else type(character).__name__
            raise UserError(f"{name}: {found} at index {i} is not a single character")
    if len(set(characters)) != len(characters):
        twice = next(c for c, count in Counter(characters).items() if count > 1)
        raise UserError(f"{name}: duplicate character {twice!r}")
    return characters


def in_order(table: Mapping, name: object) -> list[str]:
    """Return the characters of {index: character} in index order; ``name`` is the source named in errors.

    Raises:
        UserError: a key is not an index, or an index is missing.
    """
    try:
        by_index = {int(index): character for index, character in table.items()}
    except (TypeError, ValueError, OverflowError):  # of an infinite float
        raise UserError(f"{name}: its keys are not indices (0, 1, ...)") from None
    gap = next((i for i in range(len(by_index)) if i not in by_index), None)
    if gap is not None:
        raise UserError(f"{name}: no character has index {gap}")
    return [by_index[i] for i in range(len(by_index))]


def read_file(path: str | os.PathLike) -> object:
    """Return the content of a JSON file or of a pickle of plain data.

    Raises:
        UserError: it cannot be read, is damaged, or contains anything but plain data.
    """
    if not str(path).endswith(".pkl"):
        return read_json(os.fspath(path))
    try:
        with open(path, "rb") as file:
            return PlainUnpickler(file).load()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"{path}: damaged, or not the JSON file or meta.pkl of a character model") from error


class PlainUnpickler(pickle.Unpickler):
    """An unpickler that refuses every import: dicts, lists, strings and numbers load, and no code can run."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise UserError(f"refused: it contains {module}.{name}, which could execute code when loaded")

    def persistent_load(self, pid: object) -> NoReturn:
        raise UserError("refused: it refers to other files")
