"""Checkpoint files: which one is meant, and what it holds."""

import os
from types import SimpleNamespace

from omegaconf import OmegaConf

from plugins import compat
from plugins.data.char_dictionary import CharDictionary
from plugins.errors import UserError
from plugins.models.architecture import stored_options
from plugins.models.char_lm import CharLanguageModel
from plugins.models.char_lm_config import CharLMConfig

IN_A_FOLDER = ("checkpoint_best.pt", "checkpoint_last.pt")


def find_checkpoint(path):
    """Return the path of a checkpoint: the file itself, or the best or last one of a folder.

    Raises:
        UserError: there is none.
    """
    if not os.path.exists(path):
        raise UserError(f"{path}: no such checkpoint")
    if not os.path.isdir(path):
        return path
    for name in IN_A_FOLDER:
        if os.path.exists(os.path.join(path, name)):
            return os.path.join(path, name)
    raise UserError(f"{path}: neither {' nor '.join(IN_A_FOLDER)} in this folder; name the checkpoint file")


def holds_char_lm(path):
    """Tell whether a checkpoint is a character LM's, ours or nanoGPT's."""
    state = compat.read_state(path)
    model, _ = stored_options(state)
    return "model_args" in state or "char_lm" in str(model.get("_name") or model.get("arch"))


def read_char_lm(path):
    """Return (model, dictionary, names of its styles) of a checkpoint of the task ``char_lm``.

    Raises:
        UserError: it is damaged, or of another kind of model.
    """
    state = compat.read_state(path)
    if "model_args" in state:
        kind = "from_multi_style" if "style_embeddings" in state["model"] else "from_nanogpt"
        raise UserError(f"{path}: in nanoGPT's format, without its characters: use plugins.hub.CharLM.{kind}")
    task = state.get("task_state") or {}
    if "dictionary" not in task:
        raise UserError(f"{path}: no checkpoint of the task char_lm: it does not hold its characters")
    options, _ = stored_options(state)
    dictionary = CharDictionary.from_state(task["dictionary"])
    model = build_model(options, state["model"], dictionary, task.get("styles") or [], path)
    return model, dictionary, task.get("styles") or []


def read_nanogpt(path, characters):
    """Return (model, dictionary, []) of a checkpoint of nanoGPT, which stores nothing but options and weights."""
    state = read_nanogpt_state(path)
    return build_from_nanogpt(path, state, characters, {})


def read_multi_style(path, characters):
    """Return (model, dictionary, []) of a checkpoint of the published Multi-Style Adapter."""
    state = read_nanogpt_state(path)
    weights, sizes = state["model"], state["model_args"]
    gates = len({name.split(".")[1] for name in weights if name.startswith("style_adapters.")})
    if not gates:
        raise UserError(f"{path}: no Multi-Style Adapter in it; a checkpoint of nanoGPT is for CharLM.from_nanogpt")
    styles, style_dim = weights["style_embeddings"].shape
    every = gates == sizes["n_layer"]
    adapter = {
        "style_layers": "every" if every else "every_other",
        "style_inference": "published",
        "num_styles": styles,
        "style_dim": style_dim,
    }
    return build_from_nanogpt(path, state, characters, adapter)


def read_nanogpt_state(path):
    """Return {"model": weights, "model_args": sizes}, without what ``torch.compile`` and buffers add to the names."""
    state = compat.read_state(path)
    if not isinstance(state.get("model_args"), dict):
        raise UserError(f"{path}: not in nanoGPT's format (no model_args in it)")
    weights = {name.removeprefix("_orig_mod."): tensor for name, tensor in state["model"].items()}
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith(".attn.bias")}  # its causal mask
    missing = {"n_layer", "n_head", "n_embd", "block_size"} - state["model_args"].keys()
    if missing or "transformer.wte.weight" not in weights:
        raise UserError(f"{path}: not in nanoGPT's format (no {min(missing, default='transformer.wte.weight')} in it)")
    return {"model": weights, "model_args": state["model_args"]}


def build_from_nanogpt(path, state, characters, adapter):
    weights, sizes = state["model"], state["model_args"]
    rows = len(weights["transformer.wte.weight"])
    if rows != len(characters):
        raise UserError(f"{path}: {rows} characters in it, but {len(characters)} are given; they must be its own")
    options = {
        "decoder_layers": sizes["n_layer"],
        "decoder_attention_heads": sizes["n_head"],
        "decoder_embed_dim": sizes["n_embd"],
        "block_size": sizes["block_size"],
        "bias": "transformer.ln_f.bias" in weights,
    }
    prefix = {name: "decoder." + ("style." if name.startswith("style_") else "") for name in weights}
    weights = {prefix[name] + name: tensor for name, tensor in weights.items()}
    dictionary = CharDictionary(characters)
    return build_model(options | adapter, weights, dictionary, [], path), dictionary, []


def build_model(options, weights, dictionary, styles, path):
    """Return the CharLanguageModel of some options and weights.

    Args:
        options: {name: value}; those that :class:`CharLMConfig` does not have are ignored.
        path: named in errors.
    """
    known = {k: v for k, v in options.items() if k in CharLMConfig.__dataclass_fields__}
    start = dict.fromkeys(("save_dir", "restore_file", "finetune_from_model"))
    cfg = OmegaConf.structured(CharLMConfig(**known | start))
    model = CharLanguageModel.build_model(cfg, SimpleNamespace(source_dictionary=dictionary, style_names=styles))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit its options: {' '.join(str(error).split())[:200]}") from error
    return model
