"""Read a checkpoint's architecture as ``clap_roberta`` options, whether saved by this package, EIFY/fairseq or fairseq.

Options such as ALiBi's kind leave no trace in the state dict. They are read from the options stored next to it: ours,
those of the EIFY/fairseq fork (``roberta`` with ``encoder_alibi``, ``contrastive_pretraining``, ...), and those of
fairseq's own RoBERTa.
"""

from collections.abc import Mapping

from fairseq.models import MODEL_REGISTRY
from fairseq.models.roberta import RobertaModel
from omegaconf import open_dict

from plugins.models.clap_roberta_config import ARCHITECTURE, BASE, DEFAULTS, SIZES, ClapRobertaConfig
from plugins.options import NO_START

from . import allowed
from .building import check_sizes
from .options import FORK_OPTIONS, as_dict, inherit, registered_model, stored_options

TABLE = "encoder.sentence_encoder.embed_tokens.weight"
POSITION_TABLE = "encoder.sentence_encoder.embed_positions.weight"


def of_checkpoint(state: Mapping) -> dict:
    """Return the architecture of a checkpoint as {option: value}; empty if its model is not a RoBERTa.

    Args:
        state: the content of the file.
    """
    model, task = stored_options(state)
    name, kind = str(model.get("_name") or model.get("arch") or ""), registered_model(model)
    if kind is not None and issubclass(kind, MODEL_REGISTRY["clap_roberta"]):
        size = SIZES.get(name.removeprefix("clap_roberta_"), BASE)
        saved = DEFAULTS | size | {k: model[k] for k in ARCHITECTURE if model.get(k) is not None}
        saved.setdefault("normalize_embeddings", saved["head"] == "clap")
        saved.setdefault("mask_embedding", "zero" if task.get("omit_mask") else "learned")
    elif kind is RobertaModel or kind is None and FORK_OPTIONS & model.keys():
        saved = of_roberta(name, model, task)
    else:
        return {}
    tables = state["model"]
    if TABLE in tables:  # an adapter has no table; its options give the number of rows of its base
        saved["vocab_size"] = tables[TABLE].size(0)
    if saved["positions"] == "learned":  # positions count from pad + 1
        saved["max_positions"] = tables[POSITION_TABLE].size(0) - 2 if TABLE in tables else model["max_positions"]
    return saved


def of_roberta(name: str, model: Mapping, task: Mapping) -> dict:
    """Translate the options of the fork, or of fairseq's RoBERTa, which has none of the fork's."""
    clap, prenorm = bool(model.get("contrastive_pretraining")), name == "roberta_prenorm"
    size = SIZES["large"] if name.startswith("roberta_large") else BASE
    # The mask has no row only if the task left it out of the dictionary; before that option it was left out by another.
    zero_mask = model.get("zero_masking") and task.get("omit_mask", True)
    return DEFAULTS | {
        **{k: model.get(k) or size[k] for k in BASE},
        "positions": roberta_positions(model),
        "head": "clap" if clap else "roberta",
        "mask_embedding": "zero" if zero_mask else "learned",
        "normalize_embeddings": clap and model.get("l2norm_embedding", True),
        "scale_embeddings": not model.get("no_scale_embedding", True),
        "layernorm_embedding": model.get("layernorm_embedding", not prenorm),
        "encoder_normalize_before": model.get("encoder_normalize_before", prenorm),
        "untie_weights_roberta": model.get("untie_weights_roberta", False) and not clap,
        "activation_fn": model.get("activation_fn", "gelu"),
        "pooler_activation_fn": model.get("pooler_activation_fn", "tanh"),
    }


def roberta_positions(model: Mapping) -> str:
    """Return the value of ``--positions`` for the options of EIFY/fairseq's or fairseq's RoBERTa."""
    if model.get("encoder_alibi"):
        return "alibi" if model.get("encoder_alibi_asymmetrical") else "alibi_symmetric"
    return "learned" if model.get("encoder_learned_pos", True) else "sinusoidal"


def adopt(state: dict, overrides: Mapping, path: str) -> None:
    """Rewrite the options of a loaded checkpoint in place so that ``clap_roberta`` and its task are built from it.

    Only checkpoints of ``clap_roberta`` and of the fork are rewritten. Those of fairseq's RoBERTa, and of models that a
    plugin of the user's registered, keep their options, except for where training started from.

    Raises:
        UserError: an override contradicts the architecture of the checkpoint, or its sizes do not fit its weights.
    """
    cfg, (model, task) = state.get("cfg"), stored_options(state)
    if cfg is None:
        return
    with open_dict(cfg):
        allowed.forget_places(cfg)
        if cfg.get("model") is not None:
            allowed.forget_start(cfg.model)
        cfg.common_eval = {**as_dict(cfg.get("common_eval")), "path": path}  # the tokenizer is next to it
    kind = registered_model(model)
    of_fork = kind is RobertaModel and FORK_OPTIONS & (model.keys() | task.keys())
    if kind is not MODEL_REGISTRY["clap_roberta"] and not of_fork:
        check_sizes(model, state["model"], path)
        return
    saved = of_checkpoint(state)
    check_sizes(saved, state["model"], path)
    inherit({k: overrides.get(k) for k in saved}, saved, path)
    known = {k: v for k, v in model.items() if k in ClapRobertaConfig.__dataclass_fields__}
    known.setdefault("self_mask_prob", model.get("mask_prob", 0.0))  # the fork's name for it
    with open_dict(cfg):
        cfg.model = ClapRobertaConfig(**known | saved | NO_START | {"_name": "clap_roberta"})
        if task.get("_name") == "masked_lm":
            cfg.task = {**task, "_name": "clap_masked_lm", "omit_mask": saved["mask_embedding"] == "zero"}
