"""``--peft`` in a registered model: find, load and record its base. The methods are in plugins.peft."""

import logging
import os
from collections.abc import Sequence
from typing import Any

from fairseq import utils
from fairseq.data import encoders
from omegaconf import DictConfig

from plugins import checkpoints, peft
from plugins.checkpoints import inherit, stored_options
from plugins.data.text import bpe
from plugins.errors import UserError, shortened

logger = logging.getLogger(__name__)


def resolve(cfg: DictConfig, state: dict[str, Any] | None, source: str | None) -> None:
    """Fill the options of tuning: from the adapter that training starts from, if it is one, else from the defaults.

    Args:
        cfg: the options of the model.
        state: the content of the checkpoint that training starts from, or None.
        source: its path.

    Raises:
        UserError: options that contradict the adapter or each other, or no base.
    """
    saved = stored_options(state)[0] if state else {}
    is_adapter = saved.get("peft") not in (None, "none")
    if is_adapter:
        inherit(cfg, {name: saved[name] for name in peft.OPTIONS if saved.get(name) is not None}, source)
    peft.complete(cfg)
    if cfg.peft != "none":
        elsewhere = [saved.get("peft_base"), None if is_adapter else source, cfg.finetune_from_model]
        if is_adapter and cfg.finetune_from_model == source:
            elsewhere.pop()  # the adapter itself, which is not a base
        cfg.peft_base = find_base([cfg.peft_base] if cfg.peft_base else elsewhere, cfg.peft)


def find_base(places: Sequence[str | None], method: str) -> str:
    """Return the first of the paths that exists, as the absolute path of its checkpoint.

    Raises:
        UserError: none of the paths is given, or the first one does not exist.
    """
    given = [path for path in places if path and not path.startswith("${")]
    for path in given:
        if os.path.exists(path):
            return os.path.abspath(checkpoints.find_checkpoint(path))
    if given:
        raise UserError(f"{given[0]}: no such checkpoint, and it is the base of --peft {method}; name it: --peft-base")
    raise UserError(f"--peft {method} tunes a trained model; name it: --finetune-from-model CKPT")


def tune(model: Any, cfg: DictConfig, task: Any) -> Any:
    """Load the base into a new model and set up the tuning of ``cfg``, completed by :func:`resolve`; return the model.

    Raises:
        UserError: the base is damaged, an adapter itself, or of another architecture.
    """
    if cfg.peft == "none":
        return model
    state = checkpoints.read_state(cfg.peft_base)
    if peft.IDENTITY in state["model"]:
        raise UserError(f"{cfg.peft_base}: contains an adapter without its base; merge it first: scripts/merge_peft.py")
    try:
        model.load_state_dict(dict(state["model"]), model_cfg=cfg)
    except RuntimeError as error:
        raise UserError(f"{cfg.peft_base}: not the base of this model: {shortened(str(error))}") from error
    words = None
    if cfg.peft == "prompt":
        words = tokens_of(cfg.prompt_words, task) if cfg.prompt_words else None
        cfg.prompt_tokens = cfg.prompt_tokens or (24 if words is None else len(words))
        if cfg.prompt_tokens >= model.max_positions():
            room = model.max_positions()
            raise UserError(
                f"--prompt-tokens {cfg.prompt_tokens} leaves no room for text: the model takes {room} tokens"
            )
        cfg.prompt_words = None  # the checkpoint will contain the vectors; using it needs no tokenizer
    logger.info("%s of %s: %s", cfg.peft, cfg.peft_base, peft.tune(model, cfg, words, state["model"]))
    return model


def tokens_of(text: str, task: Any) -> list[int]:
    """Return the tokens (N,) of a text.

    Raises:
        UserError: there are none, or the task has no tokenizer.
    """
    dictionary = task.source_dictionary
    if hasattr(dictionary, "encode"):
        tokens = dictionary.encode(text)
    else:
        folder = task.tokenizer.folder if hasattr(task, "tokenizer") else utils.split_paths(task.cfg.data)[0]
        options = bpe.find(folder)
        if options is None:
            raise UserError(f"{folder}: no tokenizer, which --prompt-words needs; use only --prompt-tokens")
        pieces = encoders.build_bpe(options).encode(text)
        tokens = dictionary.encode_line(pieces, append_eos=False, add_if_not_exist=False)
    if len(tokens) == 0:
        raise UserError(f"--prompt-words {text!r}: has no tokens")
    return tokens.tolist()
