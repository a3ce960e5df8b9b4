"""Convert adapters of a causal LM to and from the peft library's files for transformers' GPT-2.

``adapter_model.safetensors`` (or ``.bin``) and ``adapter_config.json``. LoRA, rsLoRA, DoRA, IA3 and prompt tuning.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from plugins import checkpoints, peft
from plugins.checkpoints import find_checkpoint, new_model, registered_model, stored_options, write_causal_lm
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError, shortened
from plugins.files import read_json
from plugins.models.causal_lm import CausalLanguageModel

from . import peft_config
from .adapters import adapter_state
from .huggingface import files, tensor_names

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
OLD_WEIGHTS = "adapter_model.bin"
OURS, THEIRS = "decoder.", "base_model.model."  # what precedes transformer.h.0. ...
LAYERS = "decoder.transformer.h."
PROMPT = ("decoder.transformer.prompt.weight", "prompt_embeddings")
DORA = ("lora_magnitude_vector.weight", "lora_magnitude_vector")


def export(path: str | Path, folder: str | Path, base_model: str | None = None, base: str | Path | None = None) -> None:
    """Write an adapter so that ``PeftModel.from_pretrained(gpt2, folder)`` loads it onto transformers' GPT-2.

    Args:
        path: the adapter, of a ``causal_lm``.
        folder: a new folder for the two files.
        base_model: the Hub's name, or the folder, of the base, which the config names; None for the name of the
            folder that the base's checkpoint is in.
        base: the checkpoint of its base, if it was moved.

    Raises:
        UserError: it is not an adapter, is of a kind unknown to the library, was trained with symbols that its base
            lacks, or the folder exists.
    """
    path = find_checkpoint(path)
    state = adapter_state(path)
    options = SimpleNamespace(**stored_options(state)[0])
    if options.peft == "last_layer" or registered_model(vars(options)) is not CausalLanguageModel:
        raise UserError(f"{path}: --peft {options.peft} of {options._name} has no form in the peft library; merge it")
    tensors = {name: tensor for name, tensor in state["model"].items() if name != peft.IDENTITY}
    config = library_config(options, tensors)
    base = base or getattr(options, "peft_base", None) or getattr(options, "finetune_from_model", None) or ""
    check_symbols(path, state, base)
    config.base_model_name_or_path = base_model or os.path.basename(os.path.dirname(os.path.abspath(base))) or None
    content = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    theirs = {their_name(name): tensor for name, tensor in tensors.items()}
    files.write_folder(folder, {CONFIG: content}, theirs, dtype=None, stem="adapter_model")


def check_symbols(path: Path | str, state: Mapping[str, Any], base: str | Path) -> None:
    """Check that an adapter has the vocabulary of its base, since the library's files cannot store further rows.

    Without the row of a new separator, transformers would split the separator into pieces that the adapter never saw.

    Args:
        path: the adapter.
        state: its content.
        base: the checkpoint of its base. If it does not exist, only a separator that is one symbol is an error.

    Raises:
        UserError: the adapter has other symbols than its base.
    """
    separator = str((state.get("task_state") or {}).get("separator") or "")
    new_token = separator if separator.startswith("<|") else None
    if not base or not os.path.exists(base):
        if new_token:
            lacking = f"{base}: no such checkpoint" if base else f"{path}: the checkpoint of its base is unknown"
            raise UserError(f"{lacking}; name the base, which may not have the symbol {new_token}: --base CKPT")
        return
    rows = stored_options(state)[0].get("vocab_size")
    base_rows = stored_options(checkpoints.read_state(find_checkpoint(base)))[0].get("vocab_size")
    if rows and base_rows and rows != base_rows:
        raise UserError(
            f"{path}: has {rows} symbols, its base {base_rows}, and the peft library's files cannot store the others"
            f"{f' ({new_token})' if new_token else ''}; train with words of the base: --separator 'TL;DR:', or merge it"
        )


def library_config(options: SimpleNamespace, tensors: Mapping[str, Tensor]) -> Any:
    """Return the peft library's config of an adapter.

    Args:
        options: options of the adapter's model.
        tensors: tensors of the adapter.

    Raises:
        UserError: the peft library is missing.
    """
    if options.peft == "lora":
        feedforward = [t for t in options.lora_targets.split(",") if t.endswith("mlp.c_proj")]
        config = peft.library_config(options, feedforward)
        config.task_type, config.inference_mode, config.fan_in_fan_out = "CAUSAL_LM", True, True  # GPT-2's Conv1D
        if any(target[0].isdigit() for target in options.lora_targets.split(",")):  # only some layers
            config.target_modules = {f"transformer.h.{target}" for target in options.lora_targets.split(",")}
            if options.lora_variant == "ia3":
                config.feedforward_modules = {f"transformer.h.{target}" for target in feedforward}
        return config
    try:
        from peft import PromptTuningConfig
    except ImportError as error:
        raise UserError("this format needs the peft library: pip install -e '.[hf]'") from error
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


def their_name(name: str) -> str:
    """Return the peft library's name of one of our tensors."""
    if name == PROMPT[0]:
        return PROMPT[1]
    name = THEIRS + name.removeprefix(OURS)
    return name.replace(*DORA) if name.endswith(DORA[0]) else name


def our_name(name: str) -> str:
    """Return our name of a tensor of the peft library."""
    if name == PROMPT[1]:
        return PROMPT[0]
    name = OURS + name.removeprefix(THEIRS)
    return name.replace(*DORA[::-1]) if name.endswith(DORA[1]) else name


def read(folder: str | Path, base: str | Path) -> CausalLanguageModel:
    """Return the tuned causal LM of a folder of the peft library's, on its base.

    Args:
        folder: with the two files.
        base: the checkpoint of the GPT-2 that it was trained on, see ``scripts/import_hf.py``.

    Raises:
        UserError: a file is missing or damaged, or the adapter is of a kind that this package does not have.
    """
    path = Path(folder) / CONFIG
    config, weights = read_json(path, dict), Path(folder) / WEIGHTS
    peft_config.check_keys(config, path)  # before the tensors, of which a key may be the cause
    if not weights.exists() and (Path(folder) / OLD_WEIGHTS).exists():
        weights = Path(folder) / OLD_WEIGHTS
    found = {name: (tensor, weights) for name, tensor in files.read_tensors(weights).items()}
    tensors = {name: tensor for name, (tensor, _) in tensor_names.renamed(files.check_finite(found), our_name).items()}
    base = find_checkpoint(base)
    options, _ = stored_options(checkpoints.read_state(base))
    if not str(options.get("_name")).startswith("causal_lm"):
        raise UserError(f"{base}: a {options.get('_name')}; an adapter of the peft library needs a base of causal_lm")
    adapted = adapted_layers(tensors, weights)
    options |= peft_config.our_options(config, path, adapted, options["decoder_layers"])
    peft_config.check_sizes(config, options, tensors, path)
    options |= {"peft_base": os.path.abspath(base)}
    dictionary = TokenDictionary.from_files(os.path.dirname(os.path.abspath(base)))
    model = new_model(CausalLanguageModel, options, dictionary)
    try:
        model.load_state_dict(tensors | {peft.IDENTITY: model.peft.base})
    except RuntimeError as error:
        raise UserError(f"{weights}: not an adapter of {base}: {shortened(str(error))}") from error
    return model


def adapted_layers(names: Iterable[str], path: Path) -> set[str]:
    """Return which linear layers, for example ``0.attn.c_attn``, an adapter's tensors belong to.

    Raises:
        UserError: one belongs to another layer.
    """
    found = set()
    for name in names:
        if name == PROMPT[0]:
            continue
        layer = name.removeprefix(LAYERS).partition(".lora_")[0].partition(".ia3_")[0]
        if not name.startswith(LAYERS) or layer == name.removeprefix(LAYERS):
            name = name.removeprefix(OURS)
            raise UserError(f"{path}: contains {name}, which is not part of a layer that --peft adapts")
        found.add(layer)
    return found


def convert(folder: str | Path, base: str | Path, output: str | Path) -> None:
    """Write an adapter of the peft library as a checkpoint, with the tokenizer of its base next to it.

    Args:
        output: the file to write; see :func:`read` for the others and for errors.
    """
    write_causal_lm(output, read(folder, base))
