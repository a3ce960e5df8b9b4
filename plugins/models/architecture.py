"""Complete and validate the architecture options of ``clap_roberta``, and register sizes of any model."""

from collections.abc import Callable, Mapping

import torch
from fairseq import utils
from fairseq.models import register_model_architecture
from omegaconf import DictConfig
from torch import Tensor

from plugins.checkpoints import inherit, roberta
from plugins.errors import UserError
from plugins.modules.activations import ACTIVATIONS
from plugins.options import check_depth, check_ranges, flag

from .clap_roberta_config import DEFAULTS
from .position_options import check_positions

MOST_MULTIPLE = 1024  # maximum of --vocab-multiple
SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_attention_heads", "encoder_ffn_embed_dim")
PROBABILITIES = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout", "encoder_layerdrop")


def resolve(cfg: DictConfig, state: dict | None = None, source: str | None = None) -> None:
    """Fill in options that were not given, from the checkpoint that training starts from, else from the defaults.

    Args:
        cfg: the options of the model.
        state: the content of that checkpoint.
        source: its path, for messages.

    Raises:
        UserError: an option contradicts the checkpoint, or the options contradict each other.
    """
    if state is not None:
        inherit(cfg, roberta.of_checkpoint(state), source)
    for name, value in DEFAULTS.items():
        if cfg[name] is None:
            cfg[name] = value
    if cfg.normalize_embeddings is None:
        cfg.normalize_embeddings = cfg.head == "clap"
    validate(cfg)


def validate(cfg: DictConfig) -> None:
    """Check the values of options, and that they agree with each other.

    Raises:
        UserError: names the flags.
    """
    width, heads = cfg.encoder_embed_dim, cfg.encoder_attention_heads
    check_ranges(cfg, SIZES, PROBABILITIES)
    check_depth(cfg.encoder_layers, "encoder_layers")
    if not 1 <= cfg.vocab_multiple <= MOST_MULTIPLE:
        raise UserError(f"--vocab-multiple {cfg.vocab_multiple} is not between 1 and {MOST_MULTIPLE}; 64 is usual")
    if width % heads:
        raise UserError(f"--encoder-attention-heads {heads} does not divide --encoder-embed-dim {width}")
    if cfg.alibi_bos != "linear" and not str(cfg.positions).startswith("alibi"):
        raise UserError(f"--alibi-bos {cfg.alibi_bos} needs --positions alibi or alibi_symmetric, not {cfg.positions}")
    check_positions(cfg, "encoder")
    check_compilation(cfg, "--compile" if cfg.compile else "--compile-encoder" if cfg.compile_encoder else None)
    check_attention(cfg)
    for name in ("beta_reference_dim", "max_logit_scale", "exclude_unused"):
        if cfg[name] and cfg.head != "clap":
            raise UserError(f"{flag(name)} belongs to --head clap; this model has --head {cfg.head}")
    if not 0 <= cfg.self_mask_prob < 1:
        raise UserError(f"--self-mask-prob {cfg.self_mask_prob} is not a probability below 1")
    if cfg.quant_noise_scalar and (cfg.positions == "learned" or not torch.cuda.is_available()):
        raise UserError(
            "--quant-noise-scalar needs a GPU, and positions that are not learned: fairseq's quantized layers are made "
            "on a GPU, and there is none for position tables"
        )
    if cfg.spectral_norm_classification_head and cfg.quant_noise_pq:
        raise UserError("--spectral-norm-classification-head and --quant-noise-pq cannot be combined")


def register_size(model: str, name: str, sizes: Mapping[str, object]) -> None:
    """Register an architecture of a model: default values for options that the command line does not give."""

    @register_model_architecture(model, name)
    def fill_sizes(args):
        for option, value in sizes.items():
            if getattr(args, option, None) is None:
                setattr(args, option, value)


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return an activation function: fairseq's if :data:`plugins.modules.activations.ACTIVATIONS` does not have it."""
    return ACTIVATIONS.get(name) or utils.get_activation_fn(name)


def check_attention(cfg: DictConfig) -> None:
    """Check that ``--attn-implementation`` computes what the other options describe.

    Raises:
        UserError: it does not; names the option.
    """
    given = f"--attn-implementation {cfg.attn_implementation}"
    if str(cfg.attn_implementation) != "flex_attention":
        return
    if not str(cfg.positions).startswith("alibi") or cfg.alibi_bos == "learned":
        raise UserError(f"{given} needs --positions alibi or alibi_symmetric, without --alibi-bos learned; use sdpa")
    if cfg.attention_dropout:
        raise UserError(f"{given} has no dropout: give --attention-dropout 0, or use sdpa")


def check_compilation(cfg: DictConfig, given: str | None) -> None:
    """Check that the layers of a model can be compiled as one graph.

    Args:
        cfg: the options of the model.
        given: the flag that asks for it, or None.

    Raises:
        UserError: another option contradicts it.
    """
    for name in ("encoder_layerdrop", "offload_activations", "quant_noise_pq", "shard"):
        if given and cfg.get(name):
            raise UserError(f"{given} compiles all layers as one graph, which {flag(name)} interrupts; leave one out")
