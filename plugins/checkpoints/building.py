"""Rebuild a model from stored options and weights after comparing their sizes."""

import os
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf

from plugins.errors import UserError, shortened, shown
from plugins.options import NO_START

from .reading import check_integrity, named_errors
from .schema import check_finite

LAYER = re.compile(r"\.(?:layers|h)\.(\d+)\.")


def build_model(
    kind: Any,
    options: Mapping,
    weights: Mapping[str, torch.Tensor],
    path: str | os.PathLike,
    dictionary: Any,
    **task: Any,
) -> Any:
    """Return the model of some options and weights; see :func:`new_model`.

    Args:
        weights: {name: tensor} of its state dict.
        path: path of the file, for messages.

    Raises:
        UserError: an option has the wrong type; the weights have other sizes, or are not finite.
    """
    check_sizes(options, weights, path)
    check_integrity(path)
    check_finite(weights, path)
    with named_errors(path):  # a stored option may violate the types of the config
        model = new_model(kind, options, dictionary, **task)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit its options: {shortened(str(error))}") from error
    return model


def new_model(kind: Any, options: Mapping, dictionary: Any, **task: Any) -> Any:
    """Return a model with random weights.

    Args:
        kind: its class, a decoder LM.
        options: {name: value}; those that its config does not have are ignored.
        task: what ``kind`` needs of a task, besides the dictionary.
    """
    known = {k: v for k, v in options.items() if k in kind.config.__dataclass_fields__}
    cfg = OmegaConf.structured(kind.config(**known | NO_START))
    return kind.build_model(cfg, SimpleNamespace(source_dictionary=dictionary, **task))


# Sizes: an option of 10**9 would allocate terabytes before its weights turn out to be small


def check_sizes(options: Mapping, weights: Mapping[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Compare the sizes in stored options with the stored tensors, before anything is built.

    Args:
        options: options of an encoder (``encoder_layers``, ...) or a decoder (``decoder_layers``, ...).

    Raises:
        UserError: names the option, its value, and what the weights say; or an option is not a positive number.
    """
    found = sizes_of(weights)
    for side in ("encoder", "decoder"):
        for name, value in found.items():
            option = name if name in ("vocab_size", "block_size", "max_positions") else f"{side}_{name}"
            given = options.get(option)
            if given is None:
                continue
            check_count(option, given, path)
            if value is not None and given != value:
                raise UserError(f"{path}: its option {option} is {given:,}, but its weights have {value:,}")
        heads, width = options.get(f"{side}_attention_heads"), options.get(f"{side}_embed_dim")
        if heads is not None:
            check_count(f"{side}_attention_heads", heads, path)
            if isinstance(width, int) and heads > width:
                raise UserError(f"{path}: its option {side}_attention_heads is {heads:,}, with a width of {width:,}")
    for option, limit in LIMITS.items():
        given = options.get(option)
        if given is not None and not isinstance(given, bool) and isinstance(given, int) and given > limit:
            raise UserError(f"{path}: its option {option} is {given:,}; at most {limit:,} is possible")


# Limits of options without a tensor to compare with: above those of any real model, too low to exhaust memory
LIMITS = {
    "block_size": 1 << 24,
    "max_positions": 10**9,
    "num_styles": 1 << 20,
    "style_dim": 1 << 16,
    "style_hidden": 1 << 16,
    "lora_rank": 1 << 14,
    "prompt_tokens": 1 << 16,
}


def check_count(option: str, given: object, path: str | os.PathLike) -> None:
    """Check that an option of a checkpoint is a positive whole number.

    Raises:
        UserError: it is not; the error names the file and the option.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UserError(f"{path}: its option {option} is {shown(given)}, not a positive number")


def sizes_of(weights: Mapping[str, torch.Tensor]) -> dict[str, int | None]:
    """Return {size: value} that the tensors of a masked, causal or character LM have; empty for an adapter's."""
    table = first(weights, "embed_tokens.weight", "transformer.wte.weight")
    if table is None or table.dim() != 2:
        return {}
    layers = {int(match[1]) for name in weights if (match := LAYER.search(name))}
    hidden = first(weights, ".0.fc1.weight", ".h.0.mlp.c_fc.weight")
    places = first(weights, "transformer.wpe.weight")
    return {
        "layers": len(layers) or None,
        "embed_dim": table.size(1),
        "ffn_embed_dim": max(hidden.shape) if hidden is not None and min(hidden.shape) == table.size(1) else None,
        "vocab_size": table.size(0),
        "block_size": places.size(0) if places is not None else None,
    }


def first(weights: Mapping[str, torch.Tensor], *endings: str) -> torch.Tensor | None:
    """Return the first tensor whose name has one of these endings, or None."""
    return next((weights[name] for name in weights if name.endswith(endings)), None)
