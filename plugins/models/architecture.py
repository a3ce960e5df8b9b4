"""What a checkpoint says about its own architecture, in the words of ``clap_roberta``, whoever wrote it.

Options such as ALiBi's kind leave no trace in the state dict. They are read from the options stored beside it: ours,
those of the EIFY/fairseq fork (``roberta`` with ``encoder_alibi``, ``contrastive_pretraining``, ...), and those of
fairseq's own RoBERTa.
"""

import torch
from fairseq.models import register_model_architecture
from omegaconf import OmegaConf, open_dict

from plugins.errors import UserError
from plugins.options import START, flag

from .clap_roberta_config import ARCHITECTURE, BASE, DEFAULTS, SIZES, ClapRobertaConfig

TABLE = "encoder.sentence_encoder.embed_tokens.weight"
POSITION_TABLE = "encoder.sentence_encoder.embed_positions.weight"
FORK_OPTIONS = {"contrastive_pretraining", "encoder_alibi", "zero_masking", "omit_mask", "omit_mask_and_pad"}


# From options to a complete architecture


def resolve(cfg, state=None, source=None):
    """Fill what was not given: from the checkpoint that training starts from, if any, else from the defaults.

    Args:
        cfg: the options of the model.
        state: the content of that checkpoint.
        source: its path, for messages.

    Raises:
        UserError: an option contradicts the checkpoint, or the options contradict each other.
    """
    if state is not None:
        inherit(cfg, of_checkpoint(state), source)
    for name, value in DEFAULTS.items():
        if cfg[name] is None:
            cfg[name] = value
    if cfg.normalize_embeddings is None:
        cfg.normalize_embeddings = cfg.head == "clap"
    validate(cfg)


def inherit(cfg, saved, source):
    """Take the architecture of a checkpoint. What was given must agree: most slips would load without complaint."""
    for name, value in saved.items():
        given = cfg[name]
        if given is not None and not same(given, value):
            raise UserError(
                f"{flag(name)} {given} contradicts {source}, which was trained with {value}; leave the option out "
                "to take the checkpoint's (an --arch without a size leaves all sizes out)"
            )
        cfg[name] = value


def same(a, b):
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    return a == b if numbers else str(a) == str(b)


def record(cfg):
    """Write the options of a model where checkpoints take them from: fairseq builds models from a merged copy."""
    parent = cfg._get_parent()
    if parent is not None and parent.get("model") is not None:
        with open_dict(parent):
            parent.model.update({name: cfg[name] for name in cfg if name != "_name"})


def validate(cfg):
    """Refuse options that contradict each other, naming the flags."""
    width, heads = cfg.encoder_embed_dim, cfg.encoder_attention_heads
    if width % heads:
        raise UserError(f"--encoder-attention-heads {heads} does not divide --encoder-embed-dim {width}")
    if cfg.positions == "rotary" and width // heads % 2:
        raise UserError(f"--positions rotary needs heads of an even width, not --encoder-embed-dim {width} / {heads}")
    if cfg.alibi_bos != "linear" and not str(cfg.positions).startswith("alibi"):
        raise UserError(f"--alibi-bos {cfg.alibi_bos} needs --positions alibi or alibi_symmetric, not {cfg.positions}")
    for name in ("beta_reference_dim", "max_logit_scale", "exclude_unused"):
        if cfg[name] and cfg.head != "clap":
            raise UserError(f"{flag(name)} belongs to --head clap; this model has --head {cfg.head}")
    if not 0 <= cfg.self_mask_prob < 1:
        raise UserError(f"--self-mask-prob {cfg.self_mask_prob} is not a probability below 1")
    if cfg.quant_noise_scalar and (cfg.positions == "learned" or not torch.cuda.is_available()):
        raise UserError(
            "--quant-noise-scalar needs a GPU, and positions that are not learned: fairseq's quantised layers are made "
            "on a GPU, and there is none for position tables"
        )
    if cfg.spectral_norm_classification_head and cfg.quant_noise_pq:
        raise UserError("--spectral-norm-classification-head and --quant-noise-pq exclude each other")


# From a checkpoint


def of_checkpoint(state):
    """Return the architecture of a checkpoint as {option: value}; empty if it is no RoBERTa.

    Args:
        state: the content of the file.
    """
    model, task = stored_options(state)
    name = model.get("_name") or model.get("arch") or ""
    if name.startswith("clap_roberta"):
        size = SIZES.get(name.removeprefix("clap_roberta_"), BASE)
        saved = DEFAULTS | size | {k: model[k] for k in ARCHITECTURE if model.get(k) is not None}
        saved.setdefault("normalize_embeddings", saved["head"] == "clap")
        saved.setdefault("mask_embedding", "zero" if task.get("omit_mask") else "learned")
    elif name.startswith("roberta") or FORK_OPTIONS & model.keys():
        saved = of_roberta(name, model, task)
    else:
        return {}
    tables = state["model"]
    if TABLE in tables:  # an adapter has none, and its options say how many rows its base has
        saved["vocab_size"] = tables[TABLE].size(0)
    if saved["positions"] == "learned":  # positions count from pad + 1
        saved["max_positions"] = tables[POSITION_TABLE].size(0) - 2 if TABLE in tables else model["max_positions"]
    return saved


def of_roberta(name, model, task):
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


def roberta_positions(model):
    if model.get("encoder_alibi"):
        return "alibi" if model.get("encoder_alibi_asymmetrical") else "alibi_symmetric"
    return "learned" if model.get("encoder_learned_pos", True) else "sinusoidal"


def stored_options(state):
    """Return the options of the model and of the task of a checkpoint as two dicts."""
    if state.get("args") is not None:
        return vars(state["args"]), vars(state["args"])
    cfg = state.get("cfg") or {}
    return as_dict(cfg.get("model")), as_dict(cfg.get("task"))


def as_dict(options):
    if options is None:
        return {}
    if OmegaConf.is_config(options):
        return OmegaConf.to_container(options)
    return dict(options) if isinstance(options, dict) else vars(options)


def adopt(state, overrides, path):
    """Rewrite the options of a loaded checkpoint in place so that ``clap_roberta`` and its task are built from it.

    Checkpoints of other models, and of fairseq's own RoBERTa, are left as they are.

    Raises:
        UserError: an override contradicts the architecture of the checkpoint.
    """
    cfg, (model, task) = state.get("cfg"), stored_options(state)
    if cfg is None or not (
        str(model.get("_name")).startswith("clap_roberta") or FORK_OPTIONS & (model.keys() | task.keys())
    ):
        return
    saved = of_checkpoint(state)
    inherit({k: overrides.get(k) for k in saved}, saved, path)
    known = {k: v for k, v in model.items() if k in ClapRobertaConfig.__dataclass_fields__}
    known.setdefault("self_mask_prob", model.get("mask_prob", 0.0))  # the fork's name for it
    with open_dict(cfg):
        cfg.model = ClapRobertaConfig(**known | saved | dict.fromkeys(START) | {"_name": "clap_roberta"})
        if task.get("_name") == "masked_lm":
            cfg.task = {**task, "_name": "clap_masked_lm", "omit_mask": saved["mask_embedding"] == "zero"}
        if "common_eval" in cfg:
            cfg.common_eval.path = path  # the hub looks for the tokenizer beside the checkpoint


# Sizes


def register_size(model, name, sizes):
    """Register the architecture ``name`` of a model: {option: value} where the command line gives none."""

    @register_model_architecture(model, name)
    def fill_sizes(args):
        for option, value in sizes.items():
            if getattr(args, option, None) is None:
                setattr(args, option, value)
