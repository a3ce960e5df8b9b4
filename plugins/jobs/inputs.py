"""What the files that a job reads contain, as a part of its identity."""

import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from plugins.checkpoints import tokenizer_files
from plugins.errors import UserError, printable
from plugins.files import split_paths

WRITTEN = frozenset(
    "--save-dir --data-cache --cache-dir --record-logits --tensorboard-logdir --log-file --results-path --plasma-path"
    .split()
)  # fmt: skip
"""Options of ``fairseq-train`` whose values are paths that it writes."""
NAMES = frozenset(
    "--user-dir --task --arch -a --criterion --optimizer --lr-scheduler --bpe --tokenizer --scoring --train-subset "
    "--valid-subset --gen-subset --wandb-project --distributed-init-method".split()
)
"""Options of ``fairseq-train`` whose values are names, also where a folder has the same name, or code."""
CHECKPOINT = ".pt"
LARGE = 1_000_000_000  # bytes, which take about a second to read
NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)


def digest(*paths: str | Path | None, without: Sequence[str | Path] = ()) -> str:
    """Return a SHA-256 of the contents of files, and of the files in folders with their names; None is skipped.

    To a checkpoint belong the files of its tokenizer, which are next to it.

    As a part of :attr:`Job.identity` it keeps a finished job from being taken for one with other data. A line on stderr
    names what is read if it is :data:`LARGE`.

    Args:
        paths: files and folders.
        without: files and folders that are left out where a folder contains them, as are hidden ones.

    Raises:
        UserError: a file cannot be read.
    """
    total, left_out = hashlib.sha256(), frozenset(os.path.realpath(path) for path in without)
    for path in (Path(path) for path in paths if path is not None):
        files = sorted(_within(path, left_out)) if path.is_dir() else [path]
        files += tokenizer_files(path) if path.suffix == CHECKPOINT and not path.is_dir() else []
        if (size := sum(file.stat().st_size for file in files if file.is_file())) >= LARGE:
            print(f"reading {printable(str(path))} ({size / 1e9:,.1f} GB), to find runs of the same content",
                  file=sys.stderr, flush=True)  # fmt: skip
        for file in files:
            name = file.relative_to(path).as_posix() if path in (file, *file.parents) else file.name
            try:
                with open(file, "rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").digest()
            except OSError as error:
                raise UserError(f"{file}: {error.strerror}") from error
            total.update(hashlib.sha256(os.fsencode(name)).digest() + content)
    return total.hexdigest()


def _within(folder: Path, left_out: frozenset[str]) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}") from error

    entered = set()  # links may lead back to a folder
    for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        if (place := os.path.realpath(root)) in entered:
            folders.clear()
            continue
        entered.add(place)

        def kept(name: str, root: str = root) -> bool:
            return not name.startswith(".") and os.path.realpath(os.path.join(root, name)) not in left_out

        folders[:] = filter(kept, folders)
        yield from (path for name in filter(kept, names) if (path := Path(root, name)).is_file())


def of_commands(commands: Sequence[Sequence[str]], without: Sequence[str | Path] = ()) -> list[dict[str, str]]:
    """Return for each list of arguments of ``fairseq-train`` the :func:`digest` of every path that it reads.

    A path is an argument, or the value of an option that is neither in :data:`WRITTEN` nor in :data:`NAMES`, that names
    an existing regular file or a folder, and is no number.

    Args:
        without: as in :func:`digest`, besides the paths that the commands write.

    Raises:
        UserError: a file cannot be read.
    """
    written = [*without, *(path for words in commands for flag, path in _values(words) if flag in WRITTEN)]
    contents = functools.lru_cache(maxsize=None)(functools.partial(digest, without=written))
    return [
        {path: contents(path) for flag, value in _values(words) if flag not in WRITTEN | NAMES
         for path in split_paths(value)
         if not (flag and NUMBER.fullmatch(path)) and (os.path.isfile(path) or os.path.isdir(path))}
        for words in commands
    ]  # fmt: skip


def _values(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each argument that is no option, after the option in front of it, or the empty string."""
    flag = ""
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            yield flag, word
            flag = ""
        elif equals:
            yield name, value
            flag = ""
        else:
            flag = word
