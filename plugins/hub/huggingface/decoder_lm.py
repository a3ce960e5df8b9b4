"""char_lm, and causal_lm unless it is a GPT-2, for transformers: config, tensors and code."""

from typing import Any

from plugins.data.text.char_dictionary import CharDictionary
from plugins.errors import UserError
from plugins.models.char_lm import modulated_layers
from plugins.modules.activations import ACTIVATIONS
from plugins.modules.published_style import PublishedStyle

from . import remote_code, tokenizers_out
from .contents import Contents
from .files import GENERATION_CONFIG, check_untuned
from .masked_lm import scaling

SHELL = "modeling_decoder_lm"


def contents(lm: Any) -> Contents:
    """Return the content of the folder of a character or causal LM.

    Args:
        lm: a :class:`plugins.hub.CharLM` or :class:`plugins.hub.CausalLM`.

    Raises:
        UserError: the model is tuned by ``--peft``, or has an activation that the code does not have.
    """
    cfg, dictionary = lm.model.cfg, lm.dictionary
    check_untuned(cfg)
    if str(cfg.activation_fn) not in ACTIVATIONS:
        raise UserError(f"activation {cfg.activation_fn} cannot be exported; {', '.join(ACTIVATIONS)} can")
    characters = isinstance(dictionary, CharDictionary)
    ends = {"pad_token_id": len(dictionary)} if characters else {
        "bos_token_id": dictionary.bos(), "eos_token_id": dictionary.eos(), "pad_token_id": dictionary.eos()
    }  # fmt: skip
    config = {
        "architectures": ["DecoderLMForCausalLM"],
        "model_type": "decoder_lm",
        "auto_map": {"AutoConfig": f"{SHELL}.DecoderLMConfig", "AutoModelForCausalLM": f"{SHELL}.DecoderLMForCausalLM"},
        "vocab_size": cfg.vocab_size,
        "block_size": cfg.block_size,
        "hidden_size": cfg.decoder_embed_dim,
        "intermediate_size": cfg.decoder_ffn_embed_dim,
        "num_hidden_layers": cfg.decoder_layers,
        "num_attention_heads": cfg.decoder_attention_heads,
        "hidden_act": str(cfg.activation_fn),
        "positions": str(cfg.positions),
        "position_scaling": scaling(cfg),
        "bias": cfg.bias,
        "residual": cfg.residual,
        "layer_norm_eps": cfg.norm_eps,
        "dropout": cfg.dropout,
        "embedding_dropout": cfg.embedding_dropout,
        "attention_dropout": cfg.attention_dropout,
        "tie_word_embeddings": cfg.tie_embeddings,
        "style": style_of(lm.model),
        "styles": list(getattr(lm, "styles", ())) or None,
        **ends,
    }
    tensors = {name.removeprefix("decoder."): tensor for name, tensor in lm.model.state_dict().items()}
    if cfg.tie_embeddings:
        del tensors["lm_head.weight"]
    published = config["style"] is not None and config["style"]["form"] == "published"
    files = {GENERATION_CONFIG: ends | {"use_cache": not published}}
    files |= tokenizers_out.of_decoder(dictionary, lm.block_size)
    if not characters:
        files |= {name: content for name, content in dictionary.files().items() if name not in files}
    return Contents(config, tensors, files, remote_code.files_of(SHELL))


def style_of(model: Any) -> dict[str, Any] | None:
    """Return what the code for transformers builds the style adapter from; None without an adapter."""
    adapter, cfg = getattr(model.decoder, "style", None), model.cfg
    if adapter is None:
        return None
    common = {"layers": modulated_layers(cfg), "styles": cfg.num_styles, "style_dim": cfg.style_dim}
    if isinstance(adapter, PublishedStyle):
        return common | {"form": "published", "gates": len(adapter.style_adapters)}
    return common | {
        "form": "causal",
        "hidden": cfg.style_hidden,
        "source": cfg.style_source - 1,
        "inference": str(cfg.style_inference),
        "decay": cfg.style_decay,
        "prefix": cfg.style_prefix,
        "null_prob": cfg.style_null_prob,
        "true_prob": cfg.style_true_prob,
    }
