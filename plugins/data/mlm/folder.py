"""Write documents as a fairseq data folder: ``dict.txt``, ``{train,valid,test}.{bin,idx}``, the tokenizer's files.

A line becomes its symbols and ``</s>``. A single ``</s>`` separates two documents; fairseq reads it as a document
boundary (``--sample-break-mode complete_doc``).
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from plugins.atomic import rename_new, temporary_folder
from plugins.data.mlm.encoding import BlockEncoder
from plugins.data.mlm.shard import SPLITS, ShardWork, SplitReport, encode_shard, join_shards
from plugins.data.mlm.splits import Router
from plugins.data.mlm.splits import split_documents as split_documents  # one import for what callers need
from plugins.data.mlm.streams import Stream
from plugins.data.mlm.workers import ordered_map
from plugins.data.text.tokenizers import DICTIONARY_FILE, TOKENIZER_FILES, LineTokenizer
from plugins.errors import UserError

MANIFEST = "manifest.json"
_FOLDER_FILE = re.compile(r"(train\d*|valid|test)\.(bin|idx)|" + "|".join(map(re.escape, (MANIFEST, *TOKENIZER_FILES))))


def folder_files(shards: int = 1) -> list[str]:
    """Return the names of the files that a data folder of a number of shards may have."""
    splits = [*SPLITS, *(f"train{number}" for number in range(1, shards))]
    names = {DICTIONARY_FILE, MANIFEST, *TOKENIZER_FILES}
    return sorted(names | {f"{split}.{suffix}" for split in splits for suffix in ("bin", "idx")})


def write_mlm_folder(
    output: str | Path,
    splits: Mapping[str, Sequence[str]],
    tokenizer: LineTokenizer,
    *,
    workers: int = 1,
    force: bool = False,
) -> list[SplitReport]:
    """Write documents in memory as a data folder, atomically; :mod:`.prepare` does the same for files of any size.

    Args:
        output: the folder, which must be new or empty unless ``force``; a link is followed.
        splits: documents by split, "train" first: its counts determine the order of the dictionary, unless the
            tokenizer comes with its own dictionary.
        workers: number of encoding processes; the result does not depend on it.
        force: replace an earlier data folder.

    Raises:
        UserError: a split is empty, or ``output`` may not or cannot be written.
    """
    for split, documents in splits.items():
        if not documents:
            raise UserError(f"the {split} split is empty")
    encoder = BlockEncoder(tokenizer)
    with new_folder(output, force) as folder, ordered_map(encoder, workers) as encode:
        work = ShardWork({split: Stream(documents=documents) for split, documents in splits.items()}, Router())
        with raw_folder(folder) as raw:
            encode_shard(raw, work, encoder.encode, encode)
            return join_shards(folder, [raw], tokenizer, list(splits))[0]


@contextmanager
def raw_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder for raw items inside a temporary folder; it is removed after the block."""
    path = folder / "raw"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@contextmanager
def new_folder(output: str | Path, force: bool) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``output`` after the block, or is removed if the block fails.

    Raises:
        UserError: as :func:`check_output`; another process has written the folder meanwhile, the result is then kept
            next to it; or the folder cannot be written, for example because the disk is full.
    """
    check_output(output, force)
    output = Path(os.path.realpath(output))  # what a link points at is replaced, and the link stays
    with temporary_folder(output) as temporary:
        yield temporary
        if force:
            check_output(output, force)  # again: another process may have written it
            _put_in_place(temporary, output)
        elif not rename_new(temporary, output):
            kept = output.with_name(f"{output.name}.{os.getpid()}")
            temporary.rename(kept)
            raise UserError(f"{output} was written by another process meanwhile; this result is in {kept}")


def check_output(output: str | Path, force: bool) -> None:
    """Check that ``output`` may be written: it is new, or empty, or with ``force`` an earlier data folder.

    Raises:
        UserError: it may not.
    """
    output = Path(output)
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file; -o needs a folder")
    names = {path.name for path in output.iterdir()}
    if names and not force:
        raise UserError(f"{output} is not empty: choose another folder, or replace it with --force")
    if foreign := sorted(name for name in names if not _FOLDER_FILE.fullmatch(name)):
        # Replacing deletes, and a mistyped -o must not delete a home folder.
        raise UserError(f"--force replaces only data folders, and {output} also contains {foreign[0]}")


def _put_in_place(temporary: Path, output: Path) -> None:
    if not output.exists():
        temporary.rename(output)
        return
    old = temporary.with_suffix(".old")
    output.rename(old)
    try:
        temporary.rename(output)
    except BaseException:
        old.rename(output)
        raise
    shutil.rmtree(old)
