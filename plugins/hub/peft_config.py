"""``adapter_config.json`` of the peft library as options of ``--peft``: each key is honored or rejected by name."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from plugins.errors import UserError

from .huggingface.files import check_size, shown

LINEAR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")  # linear maps of a GPT-2 layer
FEEDFORWARD = "mlp.c_proj"  # whose input IA3 scales
COMMON = {"peft_type", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"}
HONORED = {
    "LORA": COMMON | {"r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora"},
    "IA3": COMMON | {"feedforward_modules"},
    "PROMPT_TUNING": {"peft_type", "num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads"},
}
SWITCHES = {"use_rslora", "use_dora"}
OF_BASE = {"token_dim": "decoder_embed_dim", "num_layers": "decoder_layers",
           "num_attention_heads": "decoder_attention_heads"}  # fmt: skip
# Keys without effect on a trained adapter: its origin, its initialization, and GPT-2's storage of matrices.
WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "eva_config", "fan_in_fan_out", "inference_mode", "init_ia3_weights",
    "megatron_core", "peft_version", "prompt_tuning_init", "prompt_tuning_init_text", "qalora_group_size", "revision",
    "tokenizer_kwargs", "tokenizer_name_or_path",
}  # fmt: skip
FIXED = {  # the values of other keys that change nothing; of keys that are not here: null, false, "", {} and []
    "bias": ("none",),
    "task_type": ("CAUSAL_LM", None),
    "num_transformer_submodules": (None, 1),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva", None),  # the others change the base as well
}


def our_options(config: Mapping[str, Any], path: Path, adapted: Collection[str], layers: int) -> dict[str, Any]:
    """Return the options of ``--peft`` for a config of the peft library's.

    Args:
        config: the parsed ``adapter_config.json``.
        path: path of that file, named in errors.
        adapted: the linear layers that the stored tensors belong to, for example ``0.attn.c_attn``.
        layers: layers of the base.

    Raises:
        UserError: a key is missing, has a value that ``--peft`` does not support, or contradicts the tensors.
    """
    check_keys(config, path)
    kind = config["peft_type"]
    if kind == "PROMPT_TUNING":
        return {"peft": "prompt", "prompt_tokens": whole_number(config, "num_virtual_tokens", path)}
    check_targets(config, path, adapted, layers)
    options = {"peft": "lora", "lora_targets": ",".join(target_names(adapted, layers))}
    if kind == "IA3":
        check_feedforward(config, path, adapted)
        return options | {"lora_variant": "ia3"}
    if config.get("use_dora") and config.get("use_rslora"):
        raise UserError(f"{path}: use_dora together with use_rslora is not supported by --peft")
    return options | {
        "lora_variant": "dora" if config.get("use_dora") else "rslora" if config.get("use_rslora") else "lora",
        "lora_rank": whole_number(config, "r", path),
        "lora_alpha": positive_number(config, "lora_alpha", path),
        "lora_dropout": probability(config, "lora_dropout", path),
    }


def check_keys(config: Mapping[str, Any], path: Path) -> None:
    """Check that each key of a config is one that is read here, or has a value that changes nothing.

    Raises:
        UserError: one is not.
    """
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in HONORED:
        raise UserError(f"{path}: peft_type {shown(kind)} is not one of {', '.join(HONORED)}")
    for name, value in config.items():
        if name in WITHOUT_EFFECT:
            continue
        if name in SWITCHES:
            supported = value in (True, False, None)
        elif name in HONORED[kind]:
            continue
        else:
            supported = value in FIXED[name] if name in FIXED else not value
        if not supported:
            raise UserError(f"{path}: {name} {shown(value)} is not supported by --peft")


def whole_number(config: Mapping[str, Any], name: str, path: Path) -> int:
    """Return a positive integer of a config.

    Raises:
        UserError: it is missing or of another kind.
    """
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{path}: {name} {shown(value)} is not a positive integer")
    return value


def positive_number(config: Mapping[str, Any], name: str, path: Path) -> float:
    """Return a positive number of a config.

    Raises:
        UserError: it is missing or of another kind.
    """
    value = config.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise UserError(f"{path}: {name} {shown(value)} is not a positive number")
    return value


def probability(config: Mapping[str, Any], name: str, path: Path) -> float:
    """Return a probability of a config; 0 if it is missing.

    Raises:
        UserError: it is not at least 0 and below 1.
    """
    value = config.get(name) or 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise UserError(f"{path}: {name} {shown(value)} is not a probability below 1")
    return value


# Which layers


def check_targets(config: Mapping[str, Any], path: Path, adapted: Collection[str], layers: int) -> None:
    """Compare the layers that a config names with those that have tensors.

    A pattern is resolved by the tensors, which show what it matched: a hostile one could take forever.

    Raises:
        UserError: they differ, or the names are of no linear layer.
    """
    chosen = chosen_layers(config, path, layers)
    for layer in sorted(adapted):
        if int(layer.partition(".")[0]) not in chosen:
            value = shown(config["layers_to_transform"])
            raise UserError(f"{path}: layers_to_transform {value}, but the tensors next to it adapt {layer}")
    targets, excluded = config.get("target_modules"), config.get("exclude_modules") or []
    every = [f"transformer.h.{i}.{name}" for i in range(layers) for name in LINEAR]
    if targets == "all-linear":
        targets = every
    if not isinstance(targets, str | list) or not targets or not isinstance(excluded, str | list):
        name = "exclude_modules" if isinstance(targets, str | list) and targets else "target_modules"
        raise UserError(f"{path}: {name} {shown(config.get(name))} is not a list of names of layers")
    if isinstance(targets, str) or isinstance(excluded, str):
        return
    named = {layer for layer in every if matches(layer, targets) and not matches(layer, excluded)}
    named = {layer for layer in named if int(layer.split(".")[2]) in chosen}
    unknown = [target for target in targets if not any(matches(layer, [target]) for layer in every)]
    if unknown:
        known = ", ".join(LINEAR)
        raise UserError(f"{path}: target_modules {shown(unknown[0])} is none of GPT-2's linear layers, {known}")
    if named != {f"transformer.h.{layer}" for layer in adapted}:
        raise UserError(f"{path}: target_modules {shown(targets)} are not the layers that the tensors next to it adapt")


def chosen_layers(config: Mapping[str, Any], path: Path, layers: int) -> set[int]:
    """Return the numbers of the layers that a config restricts its targets to.

    Raises:
        UserError: ``layers_to_transform`` is neither a number nor a list of numbers, or has none of a layer of the
            base; or ``layers_pattern`` lacks the name of GPT-2's list of layers.
    """
    pattern = config.get("layers_pattern")
    if pattern and pattern != "h" and not (isinstance(pattern, list) and "h" in pattern):
        raise UserError(f"{path}: layers_pattern {shown(pattern)} is not h, the name of GPT-2's layers")
    given = config.get("layers_to_transform")
    if given is None or given == []:  # all of them, as in peft
        return set(range(layers))
    numbers = given if isinstance(given, list) else [given]
    if any(not isinstance(number, int) or isinstance(number, bool) for number in numbers):
        raise UserError(f"{path}: layers_to_transform {shown(given)} is neither a number nor a list of numbers")
    if not (chosen := set(numbers) & set(range(layers))):  # peft ignores other numbers
        raise UserError(f"{path}: layers_to_transform {shown(given)}: the base has layers 0 to {layers - 1}")
    return chosen


def matches(layer: str, names: str | Collection[str]) -> bool:
    """Return whether the name of a layer is one of these, or ends with one of these after a dot."""
    return not isinstance(names, str) and any(layer == str(name) or layer.endswith(f".{name}") for name in names)


def target_names(adapted: Collection[str], layers: int) -> list[str]:
    """Return ``--lora-targets``: names within a layer where all layers have them, else those of single layers."""
    names = sorted({layer.partition(".")[2] for layer in adapted})
    if {f"{i}.{name}" for i in range(layers) for name in names} == set(adapted):
        return names
    return sorted(adapted)


def check_feedforward(config: Mapping[str, Any], path: Path, adapted: Collection[str]) -> None:
    """Raise an error for an IA3 adapter that scales the input of other layers than ``--peft``.

    Raises:
        UserError: it does, or ``feedforward_modules`` is not a list of names.
    """
    given = config.get("feedforward_modules") or []
    if not isinstance(given, str | list):
        raise UserError(f"{path}: feedforward_modules {shown(given)} is not a list of names of layers")
    if isinstance(given, str):  # a pattern; the shapes of the tensors show what it matched
        return
    for layer in sorted(adapted):
        if matches(f"transformer.h.{layer}", given) != layer.endswith(FEEDFORWARD):
            raise UserError(
                f"{path}: feedforward_modules {shown(given)}: --peft scales the input of {FEEDFORWARD} and the output "
                f"of the others, so {layer} does not fit"
            )


def check_sizes(
    config: Mapping[str, Any], options: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Compare the sizes of a config with its base and the stored tensors, before anything of that size is built.

    Args:
        config: the parsed ``adapter_config.json``.
        options: options of the base, with those of :func:`our_options`.
        tensors: the adapter's, by our names.
        path: path of the config, named in errors.

    Raises:
        UserError: they differ.
    """
    for name, option in OF_BASE.items():
        if config.get(name) is not None and config[name] != options[option]:
            raise UserError(f"{path}: {name} {shown(config[name])}, but the base has {options[option]}")
    for name, tensor in tensors.items():
        if name.endswith("lora_A.weight"):
            check_size(path, "r", options.get("lora_rank"), len(tensor))
        if name.endswith("prompt.weight"):
            check_size(path, "num_virtual_tokens", options.get("prompt_tokens"), len(tensor))
