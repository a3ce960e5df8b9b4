"""The options of ``char_lm``, its sizes and its defaults. Only data: :mod:`plugins.models.char_lm` resolves them."""

from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `int | None`

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.utils import get_available_activation_fns
from omegaconf import II

from plugins.modules import decoder, style_adapter
from plugins.options import architecture, architecture_names, option

POSITIONS = ChoiceEnum(list(decoder.POSITIONS))
INITIALISATIONS = ChoiceEnum(list(decoder.INITIALISATIONS))
STYLE_LAYERS = ChoiceEnum(["none", "every_other", "every"])
STYLE_INFERENCES = ChoiceEnum([*style_adapter.INFERENCES, "published"])
ACTIVATIONS = ChoiceEnum(get_available_activation_fns())


@dataclass
class CharLMConfig(FairseqDataclass):
    # Size
    decoder_layers: Optional[int] = architecture("layers (6)")
    decoder_attention_heads: Optional[int] = architecture("attention heads; they must divide the width (6)")
    decoder_embed_dim: Optional[int] = architecture("width (384)")
    decoder_ffn_embed_dim: Optional[int] = architecture("width of the feed-forward nets (four times the width)")
    block_size: Optional[int] = architecture("longest context, in characters (256)")
    vocab_size: Optional[int] = architecture("rows of the embedding table (as many as there are characters)")

    # Layers
    positions: Optional[POSITIONS] = architecture(
        "learned: a vector for each position; sinusoidal: Vaswani et al., 2017; alibi: linear attention bias (learned)"
    )
    residual: Optional[bool] = architecture("residual connections (on)")
    bias: Optional[bool] = architecture("biases in linear layers and layer norms (off, as nanoGPT's character models)")
    tie_embeddings: Optional[bool] = architecture("one table for input and output (on)")
    activation_fn: Optional[ACTIVATIONS] = architecture("activation of the feed-forward nets (gelu)")
    init: INITIALISATIONS = option(
        "gpt2",
        "gpt2: normal 0.02, residual projections divided by sqrt(2 layers); xavier: Xavier-uniform linear layers, "
        "embeddings normal 0.02",
    )

    # Dropout
    dropout: Optional[float] = option(None, "after attention and after the feed-forward net (by architecture, else 0)")
    embedding_dropout: Optional[float] = option(None, "after the embedding (as --dropout)")
    attention_dropout: Optional[float] = option(None, "of attention weights (as --dropout)")

    # Multi-Style Adapter
    style_layers: Optional[STYLE_LAYERS] = architecture(
        "layers whose output the Multi-Style Adapter modulates (none; every in the style_ architectures)"
    )
    style_inference: Optional[STYLE_INFERENCES] = architecture(
        "how a position's style is found in its prefix: running_mean of hidden states; token: the last one; ema: a "
        "moving average; prefix: from the first ones, then held; given: labels only; constant: no style, a control "
        "with as many parameters; published: from the last position for all, which leaks the future (running_mean)"
    )
    num_styles: Optional[int] = architecture("styles (as in the corpus, else 4); 1 is a control without styles")
    style_dim: Optional[int] = architecture("width of a style embedding (64)")
    style_hidden: Optional[int] = architecture("hidden width of the style classifier (32)")
    style_source: Optional[int] = architecture("layer, from 1, whose output the style is read from (1)")
    style_decay: Optional[float] = architecture("weight of the past in ema, a character (0.9)")
    style_prefix: Optional[int] = architecture("characters that prefix reads (16)")
    style_null_prob: float = option(0.1, "share of training windows without a style, so that sampling can do without")
    style_true_prob: float = option(0.5, "share of training windows modulated by their label, not the inferred style")

    # Where training starts from
    save_dir: Optional[str] = II("checkpoint.save_dir")
    restore_file: Optional[str] = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")


ARCHITECTURE = architecture_names(CharLMConfig)


def _size(layers, heads, width, block, dropout):
    return {
        "decoder_layers": layers,
        "decoder_attention_heads": heads,
        "decoder_embed_dim": width,
        "block_size": block,
        "dropout": dropout,
    }


SIZES = {
    "nano": _size(4, 4, 128, 64, 0.0),  # nanoGPT's README, "I only have a macbook"
    "small": _size(6, 6, 384, 256, 0.2),  # nanoGPT's config/train_shakespeare_char.py
    "deep": _size(15, 6, 192, 128, 0.2),  # the best of a course report on character transformers
}
DEFAULTS = SIZES["small"] | {
    "dropout": 0.0,
    "positions": "learned",
    "residual": True,
    "bias": False,
    "tie_embeddings": True,
    "activation_fn": "gelu",
    "style_layers": "none",
    "style_inference": "running_mean",
    "style_dim": 64,
    "style_hidden": 32,
    "style_source": 1,
    "style_decay": 0.9,
    "style_prefix": 16,
}
UNLABELLED_STYLES = 4
