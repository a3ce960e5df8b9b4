"""Encoded text on disk: written once, by whichever process comes first, and again when a file has changed."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict

from plugins.data.text.sources import CorpusSpec, Source
from plugins.errors import UserError


def describe_sources(spec: CorpusSpec, sources: dict[str, list[Source]]) -> dict:
    """Return what the encoded text of a corpus depends on, as plain data."""

    def stamp(path):
        info = os.stat(path)
        return [path, info.st_size, info.st_mtime_ns]

    options = {**asdict(spec.reading), "shares": list(map(str, spec.shares()))}
    files = {split: [[*stamp(source.path), source.style] for source in files] for split, files in sources.items()}
    return {"options": options, "files": files}


def cached(cache: str, key: dict, encode: Callable[[str], dict]) -> tuple[str, dict]:
    """Return the folder within ``cache`` that holds what was written for a key, and its description.

    Args:
        key: of :func:`describe_sources`, and whatever else the text depends on.
        encode: writes files into a folder and returns their description as plain data.

    Raises:
        UserError: nothing can be written there.
    """
    folder = os.path.join(cache, hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16])
    if not os.path.exists(description(folder)):
        try:
            write(key, folder, encode)
            remove_outdated(cache, key, folder)
        except OSError as error:
            raise UserError(
                f"{cache}: the encoded text cannot be written here ({error.strerror}); name a folder with --data-cache"
            ) from error
    with open(description(folder), encoding="utf-8") as file:
        return folder, json.load(file)


def description(folder: str) -> str:
    return os.path.join(folder, "corpus.json")


def write(key: dict, folder: str, encode: Callable[[str], dict]) -> None:
    """Write a corpus under a temporary name, then rename it; of several processes the first to finish wins."""
    part = f"{folder}.{secrets.token_hex(4)}.part"
    os.makedirs(part)
    try:
        content = {"key": key, **encode(part)}
        with open(description(part), "w", encoding="utf-8") as file:
            json.dump(content, file)
        try:
            os.rename(part, folder)
        except OSError:
            if not os.path.exists(description(folder)):
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_outdated(cache: str, key: dict, folder: str) -> None:
    """Remove what was made of the same files, with the same options, before they changed."""

    key = json.loads(json.dumps(key))  # as it is read back: with lists for tuples

    def names_only(key):
        return {**key, "files": {split: [file[0] for file in files] for split, files in key["files"].items()}}

    for entry in os.scandir(cache):
        try:
            with open(description(entry.path), encoding="utf-8") as file:
                old = json.load(file)["key"]
        except (OSError, ValueError, KeyError):
            continue
        if entry.path != folder and names_only(old) == names_only(key):
            shutil.rmtree(entry.path, ignore_errors=True)
