"""Adapters, the checkpoints of ``--peft``, and their merging into plain ones."""

import os

import torch
from fairseq import checkpoint_utils

from plugins import checkpoints, peft
from plugins.checkpoints import check_place, find_checkpoint
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.files import check_not_read, replacing
from plugins.options import NO_START


def merge_checkpoint(path, output, base=None):
    """Write an adapter and its base as one plain checkpoint, with the files of its dictionary and tokenizer beside it.

    Args:
        path: the adapter.
        output: the file to write.
        base: the checkpoint that it was trained on, if that is no longer where it was.

    Raises:
        UserError: it is no adapter or a prompt, which cannot be merged; its base is missing or another; or checkpoints
            with another tokenizer are where it would be written.
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


def adapter_state(path):
    """Return the content of an adapter's checkpoint.

    Raises:
        UserError: it is no adapter's.
    """
    state = checkpoints.read_state(path)
    if peft.IDENTITY not in state["model"]:
        raise UserError(f"{path}: holds no adapter but a whole model")
    return state


def load_with_task(path, base=None):
    """Return (model, task) of a checkpoint of any kind, which needs nothing but what lies beside it, and its base."""
    overrides = NO_START | {"path": path, "data": os.path.dirname(os.path.abspath(path))}
    if base:
        overrides["peft_base"] = base
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([path], overrides)
    return model, task
