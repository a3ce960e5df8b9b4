"""Adapters (checkpoints of ``--peft``): merge them into plain checkpoints."""

import os
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils

from plugins import checkpoints, peft
from plugins.checkpoints import check_place, find_checkpoint
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.files import check_not_read, replacing
from plugins.options import NO_START


def merge_checkpoint(path: str | Path, output: str | Path, base: str | Path | None = None) -> None:
    """Write an adapter merged into its base as a plain checkpoint, with its dictionary and tokenizer next to it.

    Args:
        path: the adapter.
        output: the file to write.
        base: the checkpoint of its base, if it was moved.

    Raises:
        UserError: it is not an adapter, or it is a prompt, which cannot be merged; its base is missing or differs; or
            the folder of the output has checkpoints with another tokenizer.
    """
    path = find_checkpoint(path)
    state = adapter_state(path)
    check_not_read([output], [path, base, state["cfg"]["model"].get("peft_base")])
    if state["cfg"]["model"]["peft"] == "prompt":
        raise UserError(f"{path}: {peft.NO_MERGE}")
    model, task = load_with_task(path, base)
    if isinstance(task.source_dictionary, TokenDictionary):
        check_place(output, task.source_dictionary)
    untied = state["cfg"]["model"]["peft"] == "last_layer" and not state["cfg"]["model"].get("peft_blocks")
    options = state["cfg"]["model"]
    options.update(dict.fromkeys([*peft.OPTIONS, "peft_base"]) | {"peft": "none", "lora_dropout": 0.0})
    if untied:
        options.update({"tie_embeddings": False} if "tie_embeddings" in options else {"untie_weights_roberta": True})
    peft.merge(model)
    state.update(model=peft.merged_state(model), last_optimizer_state=None)
    with replacing(output) as part, part.open("wb") as file:
        torch.save(state, file)
    if hasattr(task, "post_save"):
        task.post_save(os.path.abspath(output), 0)


def adapter_state(path: str | Path) -> dict[str, Any]:
    """Return the content of an adapter's checkpoint.

    Raises:
        UserError: it is the checkpoint of a whole model.
    """
    state = checkpoints.read_state(path)
    if peft.IDENTITY not in state["model"]:
        raise UserError(f"{path}: contains a whole model, not an adapter")
    return state


def load_with_task(path: str | Path, base: str | Path | None = None) -> tuple[Any, Any]:
    """Return (model, task) of a checkpoint of any kind, from the files next to it and its base."""
    overrides = NO_START | {"path": path, "data": os.path.dirname(os.path.abspath(path))}
    if base:
        overrides["peft_base"] = base
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([path], overrides)
    return model, task
