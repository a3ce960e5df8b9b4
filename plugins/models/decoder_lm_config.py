"""Options of all language models with a GPT-2 style decoder."""

from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `int | None`

from fairseq.dataclass import ChoiceEnum
from fairseq.utils import get_available_activation_fns

from plugins.modules import decoder
from plugins.options import CompileConfig, ShardConfig, StartConfig, architecture, option
from plugins.peft import PeftConfig

from .position_options import DEFAULTS as SCALING
from .position_options import PositionScalingConfig

INITIALIZATIONS = ChoiceEnum(list(decoder.INITIALIZATIONS))
ACTIVATIONS = ChoiceEnum([*get_available_activation_fns(), "gelu_tanh"])


@dataclass
class DecoderLMConfig(PositionScalingConfig, PeftConfig, StartConfig, ShardConfig, CompileConfig):
    """Options that ``char_lm`` and ``causal_lm`` share."""

    # Size
    decoder_layers: Optional[int] = architecture("layers (set by --arch)")
    decoder_attention_heads: Optional[int] = architecture("attention heads; they must divide the width (set by --arch)")
    decoder_embed_dim: Optional[int] = architecture("embedding width (set by --arch)")
    decoder_ffn_embed_dim: Optional[int] = architecture("width of the feed-forward nets (four times the width)")
    block_size: Optional[int] = architecture("longest context, in tokens (set by --arch)")
    vocab_size: Optional[int] = architecture("rows of the embedding table (as many as the dictionary has symbols)")

    # Layers
    positions: Optional[str] = architecture(  # not an enum: plugins add schemes
        "learned: a vector for each position; sinusoidal: Vaswani et al., 2017; alibi: linear attention "
        "bias; rotary: queries and keys rotated by position, Su et al., 2021 (learned)"
    )
    residual: Optional[bool] = architecture("residual connections (on)")
    bias: Optional[bool] = architecture(
        "biases in linear layers and layer norms (on in causal_lm, as GPT-2; off in char_lm, as nanoGPT's models)"
    )
    tie_embeddings: Optional[bool] = architecture("one table for input and output (on)")
    activation_fn: Optional[ACTIVATIONS] = architecture(
        "activation of the feed-forward nets; gelu_tanh is GPT-2's approximation (gelu_tanh in causal_lm, else gelu)"
    )
    norm_eps: Optional[float] = architecture("epsilon of layer norms (1e-5)")
    init: INITIALIZATIONS = option(
        "gpt2",
        "gpt2: normal 0.02, residual projections divided by sqrt(2 layers); xavier: Xavier-uniform linear layers, "
        "embeddings normal 0.02",
    )

    # Memory
    checkpoint_activations: bool = option(False, "recompute activations in the backward pass: less memory")

    # Dropout
    dropout: Optional[float] = option(None, "dropout after attention and feed-forward nets (set by --arch, else 0)")
    embedding_dropout: Optional[float] = option(None, "dropout after the embedding (as --dropout)")
    attention_dropout: Optional[float] = option(None, "dropout of attention weights (as --dropout)")


def size(layers: int, heads: int, width: int, block: int, dropout: float) -> dict[str, int | float]:
    """Return the options of an architecture of a given size."""
    return {
        "decoder_layers": layers,
        "decoder_attention_heads": heads,
        "decoder_embed_dim": width,
        "block_size": block,
        "dropout": dropout,
    }


DEFAULTS = SCALING | {"positions": "learned", "residual": True, "tie_embeddings": True, "norm_eps": 1e-5}
