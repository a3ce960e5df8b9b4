"""Schema of a checkpoint: the types of its parts, the sizes of its tensors, and no external references."""

import argparse
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from plugins.errors import UserError, shortened, shown

# Values that are visited; a few bytes of pickle can describe a structure of references that has 2**60 paths.
MOST_VALUES, MOST_DEPTH, LONGEST_TEXT = 1_000_000, 40, 1_000_000
OPTIONAL: dict[str, Any] = {
    "args": argparse.Namespace,
    "cfg": (dict, DictConfig, argparse.Namespace),
    "model_args": dict,
    "task_state": dict,
    "extra_state": dict,
    "optimizer_history": list,
    "last_optimizer_state": dict,
}
SECTIONS = ("model", "task", "criterion", "bpe", "tokenizer", "optimizer", "lr_scheduler", "common_eval", "checkpoint")
INTEGER_BUFFERS = (
    "peft.base", ".version", "attn.bias", "masked_bias", "num_batches_tracked", "position_ids", "token_type_ids",
    "_float_tensor",
)  # fmt: skip


def check(state: object, path: str | os.PathLike) -> dict:
    """Check the content of a checkpoint and return it.

    Raises:
        UserError: a part has the wrong type, a weight is not a floating-point tensor or claims more elements than are
            stored, a structure is too deep or too large, or an option refers to something outside the file.
    """
    if not isinstance(state, dict) or not isinstance(state.get("model"), Mapping):
        raise UserError(f"{path}: not a checkpoint: no dict named 'model' with the weights")
    for part, kind in OPTIONAL.items():
        if state.get(part) is not None and not isinstance(state[part], kind):
            raise UserError(f"{path}: {part} is a {type(state[part]).__name__}, which no checkpoint has there")
    check_history(state.get("optimizer_history"), path)
    check_sections(state.get("cfg"), path)
    check_tensors(state["model"], path)
    for part in ("args", "cfg", "task_state", "extra_state", "model_args"):
        check_values(state.get(part), part, path)
    return state


def check_history(history: Any, path: str | os.PathLike) -> None:
    """Check the history of optimizers in a checkpoint.

    Raises:
        UserError: it is not a list of dicts with counts of updates.
    """
    if history is not None and not (history and all(isinstance(entry, dict) for entry in history)):
        raise UserError(f"{path}: optimizer_history is not a list of dicts")
    for entry in history or ():
        updates = entry.get("num_updates", 0)
        if isinstance(updates, bool) or not isinstance(updates, int) or updates < 0:
            raise UserError(f"{path}: optimizer_history: num_updates is {shown(updates)}, not a count")


def check_sections(cfg: Any, path: str | os.PathLike) -> None:
    """Check that the sections of a configuration are mappings of options, or names where fairseq allows them.

    Raises:
        UserError: names the section that is not.
    """
    if cfg is None:
        return
    for name in SECTIONS:
        section = cfg.get(name) if isinstance(cfg, (dict, DictConfig)) else getattr(cfg, name, None)
        plain = isinstance(section, (dict, DictConfig, argparse.Namespace, str))
        if section is not None and not plain:
            raise UserError(f"{path}: cfg.{name} is a {type(section).__name__}, not a section of options")
        if isinstance(section, str) and name in ("model", "task"):
            raise UserError(f"{path}: cfg.{name} is a text, not a section of options")


def check_tensors(tensors: Mapping, path: str | os.PathLike) -> Mapping:
    """Check named weights and return them. Only names, types and sizes are read, not the values.

    Raises:
        UserError: see :func:`check`.
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str) or len(name) > 1000:
            raise UserError(f"{path}: a weight has the name {shown(name)}, which is not a text")
        if not torch.is_tensor(tensor):
            raise UserError(f"{path}: weight {shortened(name)} is a {type(tensor).__name__}, not a tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_nested:
            raise UserError(f"{path}: weight {shortened(name)} is not a dense tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError(f"{path}: weight {shortened(name)} claims {tensor.numel():,} values, more than are stored")
        if not tensor.is_floating_point() and not name.endswith(INTEGER_BUFFERS):
            raise UserError(f"{path}: weight {shortened(name)} is of type {tensor.dtype}, not floating point")
        if tensor.is_floating_point() and tensor.element_size() < 2:
            raise UserError(
                f"{path}: weight {shortened(name)} is of type {tensor.dtype}, which is quantized; take a version "
                "of the model in float16, bfloat16 or float32"
            )
    return tensors


def check_finite(
    tensors: Mapping[str, torch.Tensor],
    path: str | os.PathLike,
    remedy: str = "its training diverged: take an earlier checkpoint",
) -> None:
    """Check the values of weights.

    Args:
        remedy: end of the error.

    Raises:
        UserError: names the first weight with NaN or infinite values.
    """
    for name, tensor in tensors.items():
        # A sum is not finite if one of its terms is not; where it overflows, the terms decide.
        if tensor.is_floating_point() and not math.isfinite(tensor.sum(dtype=torch.float64).item()):
            bad = int((~torch.isfinite(tensor)).sum())
            if bad:
                raise UserError(
                    f"{path}: weight {shortened(name)} has {bad:,} NaN or infinite values of {tensor.numel():,}; "
                    f"{remedy}"
                )


def check_values(part: object, where: str, path: str | os.PathLike) -> None:
    """Check the plain data under one part of a checkpoint.

    Raises:
        UserError: too deep, too large, a key that is not text or number, or an interpolation (``${...}``), which could
            read environment variables.
    """
    visited = 0
    for place, depth, value in walk(part, where):
        visited += 1
        if depth > MOST_DEPTH or visited > MOST_VALUES:
            raise UserError(f"{path}: {where} is nested too deeply, or has more than {MOST_VALUES:,} values")
        if isinstance(value, (str, bytes)):
            if len(value) > LONGEST_TEXT and where != "task_state":
                raise UserError(f"{path}: {shortened(place)} is a text of {len(value):,} characters")
            if isinstance(value, str) and "${" in value and where in ("args", "cfg"):
                raise UserError(
                    f"{path}: refused: option {shortened(place)} is {shown(value)}; a stored option may not "
                    "refer to anything outside the file"
                )
        if isinstance(value, float) and not math.isfinite(value) and where == "model_args":
            raise UserError(f"{path}: {shortened(place)} is {value}")


def walk(value: Any, place: str) -> Iterator[tuple[str, int, object]]:
    """Yield (place, depth, value) of everything under a value, without resolving interpolations."""
    stack = [(place, 0, value)]
    while stack:
        place, depth, value = stack.pop()
        yield place, depth, value
        if depth > MOST_DEPTH:
            continue
        if isinstance(value, (DictConfig, ListConfig)):
            value = OmegaConf.to_container(value, resolve=False)
        if isinstance(value, argparse.Namespace):
            value = vars(value)
        if isinstance(value, Mapping):
            stack.extend((f"{place}.{str(key)[:80]}", depth + 1, item) for key, item in value.items())
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend((place, depth + 1, item) for item in value)
