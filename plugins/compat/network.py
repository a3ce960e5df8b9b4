"""Block downloads.

Defect: ``fairseq.file_utils`` downloads anything that looks like a URL, including the tokenizers that checkpoints
name and the default files of ``--bpe gpt2``; and it unpacks archives without checking where their members go.
"""

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlparse

from plugins.errors import UserError, shortened

from .patching import repaired, wrap


def install() -> None:
    """Apply the repairs of this file, and record them."""
    from fairseq import file_utils

    for function in ("cached_path", "get_from_cache", "http_get", "s3_get", "s3_etag", "load_archive_file"):
        wrap(file_utils, function, local_only)
    repaired("downloads", "are refused: checkpoint and tokenizer files must be local")


def local_only(original: Callable, place: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
    """Call a function of ``fairseq.file_utils`` unless it would use the network or unpack an archive.

    Raises:
        UserError: the argument is a URL or an archive, which the message names.
    """
    if is_address(place):
        raise UserError(f"{shortened(str(place))}: is a URL; nothing is downloaded: name a local file")
    if original.__name__ == "load_archive_file" and not os.path.isdir(place):
        raise UserError(f"{shortened(str(place))}: not a folder; name the folder with the checkpoint and dict.txt")
    return original(place, *args, **kwargs)


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL (``https://...``)."""
    return len(urlparse(os.fspath(place)).scheme) > 1 and "://" in os.fspath(place)
