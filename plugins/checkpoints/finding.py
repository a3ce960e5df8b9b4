"""Find the checkpoint of a folder or of a training command."""

import os
import re
from pathlib import Path

from plugins.data.text.causal_tokenizers import BPE_FILES, CHARACTERS_FILE
from plugins.data.text.token_dictionary import ADDED_FILE
from plugins.data.text.tokenizers import TOKENIZER_FILES
from plugins.data.text.tokenizers_library import CONFIG_FILE, TOKENIZERS_FILE
from plugins.errors import UserError

ENCODING_FILES = (*TOKENIZER_FILES, *BPE_FILES, CHARACTERS_FILE, ADDED_FILE, TOKENIZERS_FILE, CONFIG_FILE)
IN_A_FOLDER = ("checkpoint_best.pt", "checkpoint_last.pt")
NUMBERED = re.compile(r"checkpoint_(\d{1,9})_(\d{1,12})\.pt")


def find_checkpoint(path: str | os.PathLike) -> str:
    """Return the path of a checkpoint: the file itself, or the best or last one of a folder.

    Raises:
        UserError: there is none.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise UserError(f"{path}: no such checkpoint")
    if not os.path.isdir(path):
        return path
    for name in IN_A_FOLDER:
        if os.path.exists(os.path.join(path, name)):
            return os.path.join(path, name)
    raise UserError(f"{path}: neither {' nor '.join(IN_A_FOLDER)} in this folder; name the checkpoint file")


def tokenizer_files(path: str | os.PathLike) -> list[Path]:
    """Return the files next to a checkpoint that decide how texts are encoded for it."""
    return [file for name in ENCODING_FILES if (file := Path(path).parent / name).is_file()]


def by_update(folder: str | os.PathLike) -> list[Path]:
    """Return the numbered checkpoints of a folder, ``checkpoint_EPOCH_UPDATES.pt``, the one with most updates first.

    File times are not used: copies and restored backups have new ones.
    """
    numbered = [(NUMBERED.fullmatch(path.name), path) for path in Path(folder).iterdir()]
    found = [(int(match[2]), int(match[1]), path) for match, path in numbered if match]
    return [path for *_, path in sorted(found, reverse=True)]


def starting_checkpoint(save_dir: str | None, restore_file: str | None, finetune_from_model: str | None) -> str | None:
    """Return the checkpoint that ``fairseq-train`` with these options will start from, or None.

    Mirrors ``fairseq.checkpoint_utils.load_checkpoint``: a run is resumed if it can be.
    """
    candidates = [finetune_from_model]
    if restore_file and save_dir:
        is_default = restore_file == "checkpoint_last.pt"
        candidates.insert(0, os.path.join(save_dir, restore_file) if is_default else restore_file)
    for path in candidates:
        if path and not path.startswith("${") and os.path.exists(path):
            return find_checkpoint(path)
    return None
