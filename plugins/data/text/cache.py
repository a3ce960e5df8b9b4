"""A cache of encoded text on disk: written once, identified by content, checked when opened, rebuilt when damaged."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plugins.atomic import NotWritten, temporary_folder
from plugins.data.text.sources import CorpusSpec, Source
from plugins.errors import UserError
from plugins.files import read_json

logger = logging.getLogger(__name__)

DESCRIPTION = "corpus.json"


def describe_sources(spec: CorpusSpec, sources: dict[str, list[Source]]) -> dict[str, Any]:
    """Return, as plain data, everything that the encoded text of a corpus depends on: options and file digests."""
    options = {**asdict(spec.reading), "shares": list(map(str, spec.shares()))}
    digests = {source.path: digest(source.path) for files in sources.values() for source in files}
    files = {
        split: [[source.path, digests[source.path], source.style, source.is_json] for source in files]
        for split, files in sources.items()
    }
    return {"options": options, "files": files}


def digest(path: str | Path) -> str:
    """Return a BLAKE2b digest of the content of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def cached(cache: str, key: dict[str, Any], encode: Callable[[str], dict]) -> tuple[str, dict[str, Any]]:
    """Return the folder within ``cache`` for a key, and the description of what was written there.

    A damaged entry (a file is missing or its content has changed) is written again.

    Args:
        key: plain data that the files depend on, such as :func:`describe_sources`.
        encode: writes files into a folder and returns their description as plain data.

    Raises:
        UserError: nothing can be written there.
    """
    key = json.loads(json.dumps(key))  # like the stored form: lists instead of tuples
    folder = os.path.join(cache, hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16])
    content = read_entry(folder, key)
    if content is None:
        try:
            if os.path.lexists(folder):
                logger.warning("%s: damaged, rebuilt", folder)
                remove(folder)
            write(key, folder, encode)
            remove_outdated(cache, key, folder)
        except NotWritten as error:
            raise UserError(
                f"{cache}: the encoded text cannot be written here ({error.reason}); name a folder with --data-cache"
            ) from error
        content = read_entry(folder, key)
        if content is None:
            raise UserError(f"{folder}: damaged when read back; check the disk, or name another --data-cache")
    return folder, content


def read_entry(folder: str, key: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the description of an entry; None if it is missing, damaged, or has another key."""
    try:
        stored = read_json(os.path.join(folder, DESCRIPTION), dict)
        content, files = stored["content"], stored["content"]["written"]
        whole = stored["digest"] == checksum(content) and (key is None or content["key"] == key)
        whole = whole and all(digest(os.path.join(folder, name)) == written for name, written in files.items())
    except (UserError, KeyError, TypeError, AttributeError):
        return None
    return content if whole else None


def checksum(content: Any) -> str:
    """Return a digest of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(key: dict[str, Any], folder: str, encode: Callable[[str], dict]) -> None:
    """Write an entry under a temporary name, then rename it; of several processes, the first one wins."""
    with temporary_folder(folder) as part:
        content = {**encode(str(part)), "key": key}
        content["written"] = {name: digest(part / name) for name in sorted(os.listdir(part))}
        content = json.loads(json.dumps(content))
        with open(part / DESCRIPTION, "w", encoding="utf-8") as file:
            json.dump({"content": content, "digest": checksum(content)}, file)
        try:
            os.rename(part, folder)
        except OSError:
            if read_entry(folder, key) is None:
                raise


def remove(folder: str) -> None:
    """Remove a folder, or a link or a file of that name.

    Raises:
        NotWritten: it cannot be removed.
    """
    try:
        shutil.rmtree(folder) if os.path.isdir(folder) and not os.path.islink(folder) else os.unlink(folder)
    except OSError as error:
        raise NotWritten(folder, error.strerror or str(error)) from error


def remove_outdated(cache: str, key: dict[str, Any], folder: str) -> None:
    """Remove entries for the same files, with the same options, from before the files changed."""

    def names_only(key):
        return {**key, "files": {split: [file[0] for file in files] for split, files in key["files"].items()}}

    for entry in os.scandir(cache):
        try:
            old = read_json(os.path.join(entry.path, DESCRIPTION), dict)["content"]["key"]
            outdated = entry.path != folder and names_only(old) == names_only(key)
        except (UserError, KeyError, TypeError, AttributeError, IndexError):
            continue
        if outdated:
            shutil.rmtree(entry.path, ignore_errors=True)
