"""Adapters of a causal LM in the peft library's files, which transformers' GPT-2 takes: a folder to ours, and back.

``adapter_model.safetensors`` and ``adapter_config.json``. LoRA, rsLoRA, DoRA, IA3 and prompt tuning.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

from plugins import compat, peft
from plugins.data.text.causal_tokenizers import read_json
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.files import replacing
from plugins.models.architecture import stored_options
from plugins.models.causal_lm import CausalLanguageModel

from . import gpt2
from .adapters import adapter_state
from .checkpoints import find_checkpoint, new_model, write_causal_lm

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
OURS, THEIRS = "decoder.", "base_model.model."  # what stands before transformer.h.0. ...
PROMPT = ("decoder.transformer.prompt.weight", "prompt_embeddings")
DORA = ("lora_magnitude_vector.weight", "lora_magnitude_vector")
FIXED = {  # what our options cannot say, and what it has to be
    "bias": ("none",),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layers_to_transform": (None, []),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
    "num_transformer_submodules": (None, 1),
    "alora_invocation_tokens": (None, []),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),  # the others change the base as well
}


def export(path, folder, base_model=None):
    """Write an adapter so that ``PeftModel.from_pretrained(gpt2, folder)`` loads it onto transformers' GPT-2.

    Args:
        path: the adapter, of a ``causal_lm``.
        folder: gets the two files; it is made.
        base_model: Hugging Face's name or folder of the base, which the config names.

    Raises:
        UserError: it is no adapter, or of a kind that the library does not have.
    """
    path = find_checkpoint(path)
    state = adapter_state(path)
    options = SimpleNamespace(**stored_options(state)[0])
    if options.peft == "last_layer" or not str(options._name).startswith("causal_lm"):
        raise UserError(f"{path}: --peft {options.peft} of {options._name} has no form in the peft library; merge it")
    tensors = {name: tensor.contiguous() for name, tensor in state["model"].items() if name != peft.IDENTITY}
    config = library_config(options, tensors)
    config.base_model_name_or_path = base_model
    with replacing(os.path.join(folder, WEIGHTS)) as part:
        theirs = {their_name(name): tensor for name, tensor in tensors.items()}
        gpt2.safetensors().save_file(theirs, part, metadata={"format": "pt"})
    config.save_pretrained(folder)


def library_config(options, tensors):
    """Return the peft library's config of an adapter."""
    if options.peft == "lora":
        config = peft.library_config(options, [t for t in options.lora_targets.split(",") if t == "mlp.c_proj"])
        config.task_type, config.inference_mode, config.fan_in_fan_out = "CAUSAL_LM", True, True  # GPT-2's Conv1D
        return config
    try:
        from peft import PromptTuningConfig
    except ImportError as error:
        raise UserError("the format is the peft library's own: pip install -e '.[hf]'") from error
    vectors, width = tensors[PROMPT[0]].shape
    return PromptTuningConfig(
        task_type="CAUSAL_LM",
        inference_mode=True,
        num_virtual_tokens=vectors,
        token_dim=width,
        num_transformer_submodules=1,
        num_attention_heads=options.decoder_attention_heads,
        num_layers=options.decoder_layers,
    )


def their_name(name):
    if name == PROMPT[0]:
        return PROMPT[1]
    name = THEIRS + name.removeprefix(OURS)
    return name.replace(*DORA) if name.endswith(DORA[0]) else name


def our_name(name):
    if name == PROMPT[1]:
        return PROMPT[0]
    name = OURS + name.removeprefix(THEIRS)
    return name.replace(*DORA[::-1]) if name.endswith(DORA[1]) else name


def read(folder, base):
    """Return the tuned CausalLanguageModel of a folder of the peft library's, on its base.

    Args:
        folder: holds the two files.
        base: the checkpoint of the GPT-2 that it was trained on, see ``scripts/import_hf.py``.

    Raises:
        UserError: a file is missing or damaged, or the adapter is of a kind that this package does not have.
    """
    config, weights = read_json(Path(folder) / CONFIG, dict), Path(folder) / WEIGHTS
    tensors = {our_name(name): tensor for name, tensor in gpt2.read_tensors(weights).items()}
    base = find_checkpoint(base)
    options, _ = stored_options(compat.read_state(base))
    options |= our_options(config, os.path.join(folder, CONFIG)) | {"peft_base": os.path.abspath(base)}
    dictionary = TokenDictionary.from_files(os.path.dirname(os.path.abspath(base)))
    model = new_model(CausalLanguageModel, options, dictionary)
    try:
        model.load_state_dict(tensors | {peft.IDENTITY: model.peft.base})
    except RuntimeError as error:
        raise UserError(f"{weights}: not an adapter of {base}: {' '.join(str(error).split())[:200]}") from error
    return model


def convert(folder, base, output):
    """Write an adapter of the peft library's as a checkpoint, and the tokenizer of its base beside it.

    Args:
        output: the file to write; see :func:`read` for the others and for errors.
    """
    write_causal_lm(output, read(folder, base))


def our_options(config, path):
    """Return the options of ``--peft`` for a config of the peft library's."""
    for name, values in FIXED.items():
        if config.get(name, values[0]) not in values:
            raise UserError(f"{path}: {name} {json.dumps(config[name])} is not what --peft does")
    kind = config.get("peft_type")
    needed = {"PROMPT_TUNING": {"num_virtual_tokens"}, "LORA": {"r", "lora_alpha"}}.get(kind, set())
    if needed - config.keys():
        raise UserError(f"{path}: no {min(needed - config.keys())} in it, which {kind} needs")
    if kind == "PROMPT_TUNING":
        return {"peft": "prompt", "prompt_tokens": config["num_virtual_tokens"]}
    if kind not in ("LORA", "IA3") or not isinstance(config.get("target_modules"), list):
        known = "LORA and IA3 with a list of target_modules, or PROMPT_TUNING"
        raise UserError(f"{path}: peft_type {kind} is not {known}")
    options = {"peft": "lora", "lora_targets": ",".join(sorted(config["target_modules"]))}
    if kind == "IA3":
        return options | {"lora_variant": "ia3"}
    if config.get("use_dora") and config.get("use_rslora"):
        raise UserError(f"{path}: use_dora together with use_rslora is not what --peft does")
    variant = "dora" if config.get("use_dora") else "rslora" if config.get("use_rslora") else "lora"
    return options | {"lora_variant": variant, "lora_rank": config["r"], "lora_alpha": config["lora_alpha"]}
