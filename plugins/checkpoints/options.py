"""The options that a checkpoint stores, and how a new run takes its architecture from them."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from plugins.errors import UserError, shown
from plugins.options import ADJUSTABLE, flag

FORK_OPTIONS = {"contrastive_pretraining", "encoder_alibi", "zero_masking", "omit_mask", "omit_mask_and_pad"}  # EIFY's


def stored_options(state: Mapping) -> tuple[dict, dict]:
    """Return the options of the model and of the task of a checkpoint as two dicts."""
    if state.get("args") is not None:
        return vars(state["args"]), vars(state["args"])
    cfg = state.get("cfg") or {}
    return as_dict(cfg.get("model")), as_dict(cfg.get("task"))


def as_dict(options: DictConfig | argparse.Namespace | Mapping | None) -> dict:
    """Return options in any of the forms in which fairseq stores them as a dict."""
    if options is None:
        return {}
    if OmegaConf.is_config(options):
        content: Any = OmegaConf.to_container(options)
        return content
    return dict(options) if isinstance(options, Mapping) else vars(options)


def registries() -> dict[str, dict[str, type]]:
    """Return {kind: {name: class}} of fairseq's registries; architectures are names of their model."""
    from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_REGISTRY

    rest = {kind: REGISTRIES[kind]["registry"] for kind in ("criterion", "bpe", "tokenizer")}
    return {"model": ARCH_MODEL_REGISTRY | MODEL_REGISTRY, "task": TASK_REGISTRY, **rest}


def registered_model(options: Mapping) -> type | None:
    """Return the model class that stored options name, or None if it is not registered."""
    return registries()["model"].get(str(options.get("_name") or options.get("arch")))


def required_model(options: Mapping, source: str | os.PathLike) -> type:
    """Return the model class that stored options name.

    Args:
        options: the options of the model.
        source: path of the checkpoint, for messages.

    Raises:
        UserError: it is not registered.
    """
    found, name = registered_model(options), options.get("_name") or options.get("arch")
    if found is None:
        what = f"its model {shown(name)} is not registered" if name else "it does not name its model"
        raise UserError(f"{source}: {what}; if it belongs to your own plugin, name its folder: --user-dir")
    return found


def architecture(state: Mapping, source: str | os.PathLike) -> str:
    """Return :func:`model_name` as the ``--arch`` of a run that starts from a checkpoint.

    Models of the fork whose names it does not register here are known by their options.

    Raises:
        UserError: the model is not registered.
    """
    if "model_args" in state:
        return str(model_name(state))
    model, _ = stored_options(state)
    if registered_model(model) is None and FORK_OPTIONS & model.keys():
        return "clap_roberta"
    required_model(model, source)
    return str(model_name(state))


def model_name(state: Mapping) -> str | None:
    """Return the name of the model of a checkpoint without a size (``clap_roberta``), or None if it is not registered.

    Checkpoints of fairseq's RoBERTa and of its fork become ``clap_roberta``, those of nanoGPT ``char_lm``.
    """
    if "model_args" in state:
        return "char_lm"
    from fairseq.models import MODEL_REGISTRY

    kind = registered_model(stored_options(state)[0])
    name = next((name for name, known in MODEL_REGISTRY.items() if known is kind), None)
    return "clap_roberta" if name == "roberta" else name


def check_kind(kind: type, state: Mapping, source: str) -> None:
    """Check that a model does not start from a checkpoint of its subclass, whose changes would be lost silently.

    Args:
        kind: the class of the model that is built.
        state: the content of the checkpoint.
        source: its path, for messages.

    Raises:
        UserError: names both models.
    """
    saved = registered_model(stored_options(state)[0])
    if saved is not None and saved is not kind and issubclass(saved, kind):
        raise UserError(f"{source} is a checkpoint of {model_name(state)}: train it with --arch {model_name(state)}")


def inherit(cfg: DictConfig | dict, saved: Mapping, source: str | None) -> None:
    """Take the architecture of a checkpoint. Options that were given must agree: most errors would load silently.

    Exceptions are :data:`plugins.options.ADJUSTABLE`, which weights do not depend on: a value that was given is kept.

    Args:
        cfg: the options of the model; changed in place.
        saved: {option: value} of the checkpoint.
        source: its path, for messages.

    Raises:
        UserError: an option contradicts the checkpoint.
    """
    for name, value in saved.items():
        given = cfg[name]
        if given is not None and name in ADJUSTABLE:
            continue
        if given is not None and not same(given, value):
            raise UserError(
                f"{flag(name)} {given} contradicts {source}, which was trained with {value}; leave the option out "
                "to take the checkpoint's (an --arch without a size leaves all sizes out)"
            )
        cfg[name] = value


def same(a: object, b: object) -> bool:
    """Whether two values of an option are equal: numbers, texts or enums."""
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    return a == b if numbers else str(a) == str(b)


def record(cfg: DictConfig) -> None:
    """Write a model's options where checkpoints take them from: fairseq builds models from a merged copy."""
    parent = cfg._get_parent()
    if isinstance(parent, DictConfig) and parent.get("model") is not None:
        with open_dict(parent):
            parent.model.update({name: cfg[name] for name in cfg if name != "_name"})
