"""Write checkpoints without training: their content, and causal LMs with the files of their tokenizer."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqLanguageModel
from omegaconf import DictConfig, OmegaConf
from torch import nn

from plugins.data import dictionaries
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.files import replacing
from plugins.options import NO_START

# An entry of the history of optimizers without training; fairseq reads these keys
BLANK_HISTORY: dict[str, Any] = {
    "criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0
}  # fmt: skip


def check_place(path: str | os.PathLike, dictionary: TokenDictionary) -> None:
    """Raise an error if a folder has causal LMs with a different tokenizer, which writing another would replace.

    Raises:
        UserError: there are such checkpoints.
    """
    folder = Path(path).absolute().parent
    others = sorted(other for other in folder.glob("*.pt") if other.name != Path(path).name)
    try:
        known = TokenDictionary.from_files(folder) if others else dictionary
    except UserError:
        return  # there is nothing to replace
    if dictionaries.fingerprint(known) != dictionaries.fingerprint(dictionary):
        raise UserError(f"{path}: {others[0].name} in this folder has another tokenizer; write to another folder")


def content(
    name: str, model: nn.Module, cfg: DictConfig, task: Mapping[str, Any], dictionary: Dictionary
) -> dict[str, Any]:
    """Return the content of a checkpoint of a model that this package has not trained.

    Args:
        name: the registered name of the model.
        model: the model.
        cfg: its options.
        task: options of its task, whose name the criterion shares.
        dictionary: the dictionary of the task.
    """
    options = cast(dict[str, Any], OmegaConf.to_container(cfg, enum_to_str=True))
    return {
        "args": None,
        "cfg": {
            "model": options | NO_START | {"_name": name},
            "task": dict(task),
            "criterion": {"_name": task["_name"]},
            "bpe": None,
            "tokenizer": None,
            **{part: {} for part in ("common", "common_eval", "checkpoint")},
        },
        "model": model.state_dict(),
        "task_state": {"dictionary_sha256": dictionaries.fingerprint(dictionary)},
        "optimizer_history": [dict(BLANK_HISTORY)],
        "last_optimizer_state": None,
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def write_causal_lm(path: str | os.PathLike, model: FairseqLanguageModel) -> None:
    """Write a causal LM as a checkpoint that fairseq can start from and :class:`plugins.hub.CausalLM` reads.

    The files of its tokenizer are written next to it.

    Args:
        path: path of the ``.pt`` file; missing folders are created.
        model: a causal LM without an adapter.

    Raises:
        UserError: it cannot be written there, or checkpoints with another tokenizer are there.
    """
    dictionary = model.decoder.dictionary
    task = {"_name": "causal_lm", "data": "", "path": None, **NO_START}
    state = content("causal_lm", model, model.cfg, task, dictionary)
    check_place(path, dictionary)
    with replacing(Path(path)) as part, part.open("wb") as file:
        dictionary.save_files(os.path.dirname(os.path.abspath(path)))
        torch.save(state, file)
