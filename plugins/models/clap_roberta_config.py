"""The options of ``clap_roberta``: definitions, defaults, and which of them a checkpoint determines.

Only data: :mod:`plugins.models.architecture` fills in missing values.
"""

import argparse
from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `int | None`

from fairseq.dataclass import ChoiceEnum
from fairseq.utils import get_available_activation_fns

from plugins.modules.pooler import POOLERS
from plugins.options import CompileConfig, ShardConfig, StartConfig, architecture, architecture_names, option
from plugins.peft import PeftConfig

from .position_options import DEFAULTS as SCALING
from .position_options import PositionScalingConfig

ALIBI_BOS = ChoiceEnum(["linear", "zero", "learned"])
ATTENTION = ChoiceEnum(["sdpa", "flex_attention"])
HEADS = ChoiceEnum(["clap", "roberta"])
MASK_EMBEDDINGS = ChoiceEnum(["learned", "zero"])
POOLER_TYPES = ChoiceEnum(list(POOLERS))
ACTIVATIONS = ChoiceEnum(get_available_activation_fns())


@dataclass
class ClapRobertaConfig(PositionScalingConfig, PeftConfig, StartConfig, ShardConfig, CompileConfig):
    """Options of the model ``clap_roberta``."""

    # Size
    encoder_layers: Optional[int] = architecture("layers (12)")
    encoder_embed_dim: Optional[int] = architecture("width (768)")
    encoder_ffn_embed_dim: Optional[int] = architecture("width of the feed-forward nets (3072)")
    encoder_attention_heads: Optional[int] = architecture("attention heads; they must divide the width (12)")
    vocab_size: Optional[int] = architecture("rows of the embedding table (as many as the dictionary has)")
    vocab_multiple: Optional[int] = architecture(
        "add unused rows to the embedding table until their number, that of <mask> included, is a multiple of this, "
        "for example 64, which is faster on GPUs; they are never predicted (1)"
    )
    max_positions: Optional[int] = option(
        None, "longest input; only a model with learned positions is bound by it (default: --tokens-per-sample)"
    )

    # Positions
    positions: Optional[str] = architecture(  # not an enum: plugins add schemes
        "learned: a vector for each position; sinusoidal: Vaswani et al., 2017; alibi: linear attention bias with "
        "tokens to the right half a position nearer; alibi_symmetric: the same bias on both sides; rotary: queries and "
        "keys rotated by position, Su et al., 2021 (learned)"
    )
    alibi_bos: Optional[ALIBI_BOS] = architecture(
        "ALiBi bias from and to <s>: linear as for any token, zero, or one learned scalar per head (linear)"
    )

    # Input
    mask_embedding: Optional[MASK_EMBEDDINGS] = architecture(
        "embedding of <mask>: a learned row, or zeros and no row (learned, or zero with the task's --omit-mask)"
    )
    normalize_embeddings: Optional[bool] = architecture(
        "divide embeddings by their L2 norm, at the input and in the CLAP head (on with --head clap)"
    )
    scale_embeddings: Optional[bool] = architecture("multiply input embeddings by sqrt(width) (off)")
    layernorm_embedding: Optional[bool] = architecture("layer norm after the embedding (on)")

    # Output
    head: Optional[HEADS] = architecture(
        "clap: beta times the inner product with the embeddings; roberta: dense, activation, layer norm, bias (clap)"
    )
    initial_beta: float = option(1.0, "CLAP head: beta at the start of training")
    beta_reference_dim: Optional[int] = architecture(
        "CLAP head: multiply logits by sqrt(N / width), N the width that --initial-beta suits (0: off, as published)"
    )
    max_logit_scale: Optional[float] = architecture(
        "CLAP head: keep the scale of a cosine, beta * sqrt(width), within 0 and this; CLIP: 100 (0: off, as published)"
    )
    exclude_unused: Optional[bool] = architecture(
        "CLAP head: never predict <pad> or madeupword fillers (off, as published)"
    )
    untie_weights_roberta: Optional[bool] = architecture("a separate output table instead of the input's (off)")

    # Layers
    encoder_normalize_before: Optional[bool] = architecture("pre-norm layers (off)")
    activation_fn: Optional[ACTIVATIONS] = architecture("activation of the feed-forward nets (gelu)")
    head_activation_fn: Optional[ACTIVATIONS] = architecture(
        "activation of --head roberta (as --activation-fn); Hugging Face's RoBERTa always has gelu"
    )
    norm_eps: Optional[float] = architecture("added to the variance in layer norms (1e-5)")
    pooler_activation_fn: Optional[ACTIVATIONS] = architecture("activation of classification heads (tanh)")
    dropout: float = option(0.1, "dropout after the embedding, attention and feed-forward net")
    attention_dropout: float = option(0.1, "dropout of attention weights")
    activation_dropout: float = option(0.0, "dropout after the activation of the feed-forward net")
    pooler_dropout: float = option(0.0, "dropout in classification heads")
    encoder_layerdrop: float = option(0.0, "probability of skipping a layer in training (Fan et al., 2019)")
    encoder_layers_to_keep: Optional[str] = option(None, "layers to keep of a model with more, comma-separated")
    self_mask_prob: float = option(
        0.0, "mask inside the model with this probability; for a task with --mask-prob 0 (self-masking ablation)"
    )

    # Noise and heads
    quant_noise_pq: float = option(0.0, "iterative product quantization noise in training (Fan et al., 2020)")
    quant_noise_pq_block_size: int = option(8, "block size of quantization noise")
    quant_noise_scalar: float = option(0.0, "scalar quantization noise, and scalar quantization in training")
    spectral_norm_classification_head: bool = option(False, "spectral normalization of classification heads")
    pooler_type: POOLER_TYPES = option(
        "bos",
        "input of classification heads: bos: the features of <s>, as RoBERTa; mean or max over all tokens; attention: "
        "a mean with learned weights",
    )
    load_checkpoint_heads: bool = option(False, "register and load the classification heads found in a checkpoint")

    # Memory and speed
    checkpoint_activations: bool = option(False, "recompute activations in the backward pass: less memory")
    offload_activations: bool = option(False, "with --checkpoint-activations: keep them on the CPU")
    min_params_to_wrap: Optional[int] = option(None, argparse.SUPPRESS)  # for fully_sharded, which this stack lacks
    compile_encoder: bool = option(False, "the same as --compile")
    attn_implementation: ATTENTION = option(
        "sdpa",
        "attention in training: sdpa: torch's fused kernels, the ALiBi bias is a tensor; flex_attention: a compiled "
        "kernel computes the ALiBi bias, in float32; on GPUs, for blocks of equal length, with --attention-dropout 0",
    )


ARCHITECTURE = architecture_names(ClapRobertaConfig)

BASE = {"encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072, "encoder_attention_heads": 12}
SIZES = {
    "tiny": {
        "encoder_layers": 4, "encoder_embed_dim": 128, "encoder_ffn_embed_dim": 512, "encoder_attention_heads": 4,
    },
    "small": {
        "encoder_layers": 6, "encoder_embed_dim": 384, "encoder_ffn_embed_dim": 1536, "encoder_attention_heads": 6,
    },
    "base": BASE,
    "large": {
        "encoder_layers": 24, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096, "encoder_attention_heads": 16,
    },
}  # fmt: skip
DEFAULTS = {
    **BASE,
    **SCALING,
    "vocab_multiple": 1,
    "positions": "learned",
    "alibi_bos": "linear",
    "scale_embeddings": False,
    "layernorm_embedding": True,
    "head": "clap",
    "beta_reference_dim": 0,
    "max_logit_scale": 0.0,
    "exclude_unused": False,
    "untie_weights_roberta": False,
    "encoder_normalize_before": False,
    "activation_fn": "gelu",
    "norm_eps": 1e-5,
    "pooler_activation_fn": "tanh",
}
