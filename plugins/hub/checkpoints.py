"""Checkpoint files: which one is meant, and what it holds."""

import os
from pathlib import Path
from types import SimpleNamespace

import torch
from omegaconf import OmegaConf

from plugins import compat
from plugins.data import dictionaries
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.token_dictionary import TokenDictionary, check_size
from plugins.errors import UserError
from plugins.files import replacing
from plugins.models.architecture import stored_options
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.char_lm import CharLanguageModel
from plugins.options import START

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


def kind_of(path):
    """Tell what a checkpoint holds: "char_lm" (ours or nanoGPT's), "causal_lm", or "masked_lm"."""
    state = compat.read_state(path)
    model, _ = stored_options(state)
    name = str(model.get("_name") or model.get("arch"))
    if "model_args" in state or "char_lm" in name:
        return "char_lm"
    return "causal_lm" if name.startswith("causal_lm") else "masked_lm"


def read_char_lm(path, base=None):
    """Return (model, dictionary, names of its styles) of a checkpoint of the task ``char_lm``.

    Args:
        base: the checkpoint that an adapter belongs to, if it is no longer where it was.

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
    options = {**options, "peft_base": base or options.get("peft_base")}
    dictionary = CharDictionary.from_state(task["dictionary"])
    styles = task.get("styles") or []
    model = build_model(CharLanguageModel, options, state["model"], path, dictionary, style_names=styles)
    return model, dictionary, styles


def read_causal_lm(path, base=None):
    """Return (model, dictionary) of a checkpoint of a causal LM, whose tokenizer lies beside it.

    Args:
        base: the checkpoint that an adapter belongs to, if it is no longer where it was.

    Raises:
        UserError: a file is missing, damaged, or does not fit the others.
    """
    state = compat.read_state(path)
    options, _ = stored_options(state)
    if not str(options.get("_name") or options.get("arch")).startswith("causal_lm"):
        raise UserError(f"{path}: holds no causal_lm; plugins.hub.load loads the others")
    dictionary = TokenDictionary.from_files(os.path.dirname(os.path.abspath(path)))
    check_size(dictionary, options["vocab_size"], path)
    if (state.get("task_state") or {}).get("dictionary_sha256") not in (None, dictionaries.fingerprint(dictionary)):
        raise UserError(f"{path}: the tokenizer beside it is not the one that it was trained with")
    options = {**options, "peft_base": base or options.get("peft_base")}
    return build_model(CausalLanguageModel, options, state["model"], path, dictionary), dictionary


def read_nanogpt(path, characters):
    """Return (model, dictionary, []) of a checkpoint of nanoGPT, which stores nothing but options and weights."""
    state = read_nanogpt_state(path)
    if "style_embeddings" in state["model"]:
        raise UserError(f"{path}: has a Multi-Style Adapter: use plugins.hub.CharLM.from_multi_style")
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
    model = build_model(CharLanguageModel, options | adapter, weights, path, dictionary, style_names=[])
    return model, dictionary, []


def build_model(kind, options, weights, path, dictionary, **task):
    """Return the model of some options and weights; see :func:`new_model`.

    Args:
        path: named in errors.
    """
    model = new_model(kind, options, dictionary, **task)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit its options: {' '.join(str(error).split())[:200]}") from error
    return model


def new_model(kind, options, dictionary, **task):
    """Return a model with random weights.

    Args:
        kind: its class, a decoder LM.
        options: {name: value}; those that its config does not have are ignored.
        task: what ``kind`` asks of a task, besides the dictionary.
    """
    known = {k: v for k, v in options.items() if k in kind.config.__dataclass_fields__}
    cfg = OmegaConf.structured(kind.config(**known | dict.fromkeys(START)))
    return kind.build_model(cfg, SimpleNamespace(source_dictionary=dictionary, **task))


def check_place(path, dictionary):
    """Refuse to put a causal LM beside others whose tokenizer, which its own would replace, is another.

    Raises:
        UserError: they are there.
    """
    folder = Path(path).absolute().parent
    others = sorted(other for other in folder.glob("*.pt") if other.name != Path(path).name)
    try:
        known = TokenDictionary.from_files(folder) if others else dictionary
    except UserError:
        return  # there is nothing to replace
    if dictionaries.fingerprint(known) != dictionaries.fingerprint(dictionary):
        raise UserError(f"{path}: {others[0].name} in this folder has another tokenizer; write to another folder")


def write_causal_lm(path, model):
    """Write a causal LM as a checkpoint that fairseq can start from and :class:`plugins.hub.CausalLM` reads.

    The files of its tokenizer are put beside it.

    Args:
        path: of the ``.pt`` file; missing folders are made.
        model: a CausalLanguageModel without an adapter.

    Raises:
        UserError: it cannot be written there, or checkpoints with another tokenizer are there.
    """
    cfg, dictionary = OmegaConf.to_container(model.cfg, enum_to_str=True), model.decoder.dictionary
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    state = {
        "args": None,
        "cfg": {
            "model": cfg | dict.fromkeys(START) | {"_name": "causal_lm"},
            "task": {"_name": "causal_lm", "data": "", **dict.fromkeys(("path", *START))},
            "criterion": {"_name": "causal_lm"},
            **{part: {} for part in ("common", "common_eval", "checkpoint")},
        },
        "model": model.state_dict(),
        "task_state": {"dictionary_sha256": dictionaries.fingerprint(dictionary)},
        "optimizer_history": [history],
        "last_optimizer_state": None,
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    check_place(path, dictionary)
    with replacing(path) as part, part.open("wb") as file:
        dictionary.save_files(os.path.dirname(os.path.abspath(path)))
        torch.save(state, file)
