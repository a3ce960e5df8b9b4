"""Checkpoints of nanoGPT and of the published Multi-Style Adapter: options and weights, without the characters."""

from collections.abc import Mapping, Sequence

import torch
from fairseq.models import FairseqLanguageModel

from plugins.data.text.char_dictionary import CharDictionary
from plugins.errors import UserError

from .building import build_model, check_count
from .options import registries
from .reading import read_state

SIZE_KEYS = ("n_layer", "n_head", "n_embd", "block_size")


def read_nanogpt(path: str, characters: Sequence[str]) -> tuple[FairseqLanguageModel, CharDictionary, list[str]]:
    """Rebuild a nanoGPT model.

    Args:
        path: path of the checkpoint.
        characters: V, in the order of its rows.

    Returns:
        The model, its dictionary and an empty list of styles.

    Raises:
        UserError: another format, or another number of characters.
    """
    weights, sizes = read_format(path)
    if "style_embeddings" in weights:
        raise UserError(f"{path}: has a Multi-Style Adapter: use plugins.hub.CharLM.from_multi_style")
    return build(path, weights, sizes, characters, {})


def read_multi_style(path: str, characters: Sequence[str]) -> tuple[FairseqLanguageModel, CharDictionary, list[str]]:
    """Rebuild a model with the published Multi-Style Adapter; see :func:`read_nanogpt`.

    Raises:
        UserError: it has no Multi-Style Adapter, or see :func:`read_nanogpt`.
    """
    weights, sizes = read_format(path)
    gates = len({name.split(".")[1] for name in weights if name.startswith("style_adapters.")})
    if not gates:
        raise UserError(f"{path}: has no Multi-Style Adapter; use plugins.hub.CharLM.from_nanogpt")
    table = weights.get("style_embeddings")
    if table is None or table.dim() != 2:
        raise UserError(f"{path}: style_embeddings is not a matrix (styles, style_dim)")
    adapter = {
        "style_layers": "every" if gates == sizes["n_layer"] else "every_other",
        "style_inference": "published",
        "num_styles": table.size(0),
        "style_dim": table.size(1),
    }
    return build(path, weights, sizes, characters, adapter)


def read_format(path: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Return (weights, sizes), without what ``torch.compile`` and buffers add to the names.

    Raises:
        UserError: not in nanoGPT's format.
    """
    state = read_state(path)
    sizes = state.get("model_args")
    if not isinstance(sizes, dict):
        raise UserError(f"{path}: not in nanoGPT's format (no model_args)")
    weights = {name.removeprefix("_orig_mod."): tensor for name, tensor in state["model"].items()}
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith(".attn.bias")}  # its causal mask
    missing = set(SIZE_KEYS) - sizes.keys()
    table = weights.get("transformer.wte.weight")
    if missing or table is None or table.dim() != 2:
        raise UserError(f"{path}: not in nanoGPT's format (no {min(missing, default='transformer.wte.weight')})")
    for name in SIZE_KEYS:
        check_count(name, sizes[name], path)
    return weights, sizes


def build(
    path: str, weights: Mapping[str, torch.Tensor], sizes: Mapping, characters: Sequence[str], adapter: Mapping
) -> tuple[FairseqLanguageModel, CharDictionary, list[str]]:
    """Build a model and its dictionary from the tensors of a checkpoint.

    Args:
        path: the file, for errors.
        weights: tensors by the names of this package.
        sizes: ``n_layer``, ``n_head``, ``n_embd`` and so on.
        characters: in the order of their ids.
        adapter: options of the style adapter; empty without one.

    Raises:
        UserError: the number of characters differs from the rows of the table, or the tensors do not fit.
    """
    rows = len(weights["transformer.wte.weight"])
    if rows != len(characters):
        raise UserError(f"{path}: has {rows} characters, but {len(characters)} were given; they must be its own")
    options = {
        "decoder_layers": sizes["n_layer"],
        "decoder_attention_heads": sizes["n_head"],
        "decoder_embed_dim": sizes["n_embd"],
        "block_size": sizes["block_size"],
        "bias": "transformer.ln_f.bias" in weights,
    }
    prefix = {name: "decoder." + ("style." if name.startswith("style_") else "") for name in weights}
    weights = {prefix[name] + name: tensor for name, tensor in weights.items()}
    dictionary = CharDictionary(characters)
    kind = registries()["model"]["char_lm"]
    return build_model(kind, {**options, **adapter}, weights, path, dictionary, style_names=[]), dictionary, []
