"""Checkpoints for sharing: without the optimizer state and without paths of the machine that trained them."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.checkpoints import find_checkpoint, read_state
from plugins.checkpoints.options import as_dict
from plugins.data.text.causal_tokenizers import BPE_FILES, CHARACTERS_FILE
from plugins.data.text.token_dictionary import ADDED_FILE
from plugins.data.text.tokenizers import TOKENIZER_FILES
from plugins.data.text.tokenizers_library import CONFIG_FILE, TOKENIZERS_FILE
from plugins.errors import UserError
from plugins.files import check_not_read, replacing

BESIDE = (*TOKENIZER_FILES, *BPE_FILES, CHARACTERS_FILE, ADDED_FILE, CONFIG_FILE, TOKENIZERS_FILE)
KEPT = ("best", "val_loss", "train_iterator", "previous_training_time")  # kept keys of extra_state


def slim(path: str | Path, output: str | Path) -> None:
    """Write a checkpoint that can be used and fine-tuned as before, but not resumed, with its tokenizer next to it.

    Left out are the optimizer's state, the meters, and every option whose value is a path or a URL.

    Args:
        path: the checkpoint, or its folder.
        output: the ``.pt`` file to write.

    Raises:
        UserError: the checkpoint is missing or damaged, has options in an old form, or cannot be written.
    """
    path = Path(find_checkpoint(path))
    check_not_read([output], [path])
    state = read_state(path)
    if state.get("cfg") is None:
        raise UserError(f"{path}: its options are a Namespace of an old fairseq; import it with scripts/import_hf.py")
    extra, history = state.get("extra_state") or {}, state.get("optimizer_history") or [{}]
    kept = {name: extra[name] for name in KEPT if name in extra}
    kept["train_iterator"] = {"epoch": (extra.get("train_iterator") or {}).get("epoch", 1)}
    sections = {name: as_dict(part) for name, part in as_dict(state["cfg"]).items() if part is not None}
    cfg = {name: without_places(part) for name, part in sections.items()}
    cfg["task"]["data"] = ""
    last = {name: value for name, value in history[-1].items() if name != "lr_scheduler_state"}
    slimmed = {
        "args": None,
        "cfg": cfg,
        "model": copied(state["model"]),
        "task_state": state.get("task_state") or {},
        "extra_state": kept,
        "optimizer_history": [{"num_updates": 0, **last, "lr_scheduler_state": {}}],
        "last_optimizer_state": None,
    }
    with ExitStack() as stack:  # all files are renamed at the end, or none
        for name in BESIDE:
            if (path.parent / name).exists() and path.parent != Path(output).absolute().parent:
                shutil.copyfile(path.parent / name, stack.enter_context(replacing(Path(output).parent / name)))
        torch.save(slimmed, stack.enter_context(replacing(output)))


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors; shared memory, for example of tied tables, stays shared."""
    copies: dict[tuple, Tensor] = {}
    for tensor in tensors.values():
        copies.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), tensor.clone())
    return {name: copies[t.data_ptr(), t.shape, t.stride()] for name, t in tensors.items()}


def without_places(value: Any) -> Any:
    """Return options without those whose value is a path or a URL."""
    if isinstance(value, dict):
        return {name: without_places(part) for name, part in value.items() if not is_place(part)}
    if isinstance(value, list | tuple):
        return [without_places(part) for part in value if not is_place(part)]
    return value


def is_place(value: Any) -> bool:
    """Return whether an option is a path or a URL."""
    return isinstance(value, str) and ("/" in value or "\\" in value)
