"""The characters of a model that comes without a dictionary, as nanoGPT and what is built on it keep them."""

import json
import os
import pickle

from plugins.errors import UserError


def read_characters(source):
    """Return the characters of a model in the order of its indices, as a list of strings.

    Args:
        source: a list or a string of the characters, a dict {index: character}, the path of a JSON file that holds
            one of these, or of nanoGPT's ``meta.pkl``, from which plain data is read and nothing is run. A string
            is a path if it ends in ``.json`` or ``.pkl``.

    Raises:
        UserError: a file cannot be read, holds more than plain data, or the indices have gaps.
    """
    name = "the characters"
    if isinstance(source, os.PathLike) or (isinstance(source, str) and source.endswith((".json", ".pkl"))):
        name, source = source, read_file(source)
    if isinstance(source, dict) and isinstance(source.get("itos"), dict | list):
        source = source["itos"]
    if isinstance(source, dict):
        source = in_order(source, name)
    if not isinstance(source, list | tuple | str):
        raise UserError(f"{name}: {type(source).__name__} found, but a list or a dict of characters needed")
    characters = list(source)
    wrong = next((c for c in characters if not isinstance(c, str) or len(c) != 1), None)
    if wrong is not None:
        raise UserError(f"{name}: {wrong!r} is not a single character")
    if len(set(characters)) != len(characters):
        twice = next(c for c in characters if characters.count(c) > 1)
        raise UserError(f"{name}: {twice!r} stands there twice")
    return characters


def in_order(table, name):
    try:
        by_index = {int(index): character for index, character in table.items()}
    except (TypeError, ValueError):
        raise UserError(f"{name}: its keys are not the indices of characters") from None
    gap = next((i for i in range(len(by_index)) if i not in by_index), None)
    if gap is not None:
        raise UserError(f"{name}: no character has index {gap}")
    return [by_index[i] for i in range(len(by_index))]


def read_file(path):
    try:
        with open(path, "rb") as file:
            return PlainUnpickler(file).load() if str(path).endswith(".pkl") else json.load(file)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"{path}: damaged, or not the JSON file or meta.pkl of a character model") from error


class PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings and numbers, which need no import, and imports nothing: so no code can be run."""

    def find_class(self, module, name):
        raise UserError(f"refused, for it holds {module}.{name}, which is not plain data and could run code")

    def persistent_load(self, pid):
        raise UserError("refused, for it refers to other files")
