"""Convert between GPT-2 and OPT folders of Hugging Face transformers and causal LMs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.checkpoints import build_model, new_model
from plugins.data.dictionaries import FILLER
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.files import read_json
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.causal_lm_config import DEFAULTS
from plugins.modules.int8 import Int8Linear

from .huggingface import files, opt_in, tensor_names, tokenizers_out
from .huggingface.contents import Contents, check_ours
from .huggingface.files import CONFIG, is_folder
from .huggingface.roberta_in import MODEL_TYPES
from .huggingface.tokenizers_in import read_dictionary

__all__ = ["CONFIG", "contents", "is_folder", "is_gpt2", "read", "write"]

FIXED = {  # values that are fixed in the model
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
OWN = ("clap_roberta", "decoder_lm")  # exported with code; the checkpoint has more, such as the data's digest
SIZE_KEYS = {
    "vocab_size": "vocab_size",
    "n_positions": "block_size",
    "n_embd": "decoder_embed_dim",
    "n_layer": "decoder_layers",
    "n_head": "decoder_attention_heads",
}
DROPOUTS = {"resid_pdrop": "dropout", "embd_pdrop": "embedding_dropout", "attn_pdrop": "attention_dropout"}
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
BACK = {"gelu_tanh": "gelu_new", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new", "gelu": "gelu", "relu": "relu"}
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # linear layers that are stored as (in, out)
BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks in older files
SAME = {"positions": "learned", "position_scaling": "none", "residual": True}  # options of a causal_lm that is a GPT-2
TABLE, POSITIONS = "wte.weight", "wpe.weight"


# From the folder


def read(folder: str | os.PathLike, tokenizer: str | Path | None = None) -> CausalLanguageModel:
    """Return the causal LM of the folder of a GPT-2, or of an OPT of the same form (:mod:`.opt_in`), in float32.

    Args:
        folder: with ``config.json`` and the weights.
        tokenizer: where the tokenizer's files are, if not in it.

    Raises:
        UserError: a file is missing or damaged; the config requires an unsupported option; its sizes are not
            those of the weights; or a tensor is missing, unknown, or has an unexpected shape.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG, dict)
    theirs, opt = config, config.get("model_type") == "opt"
    config = opt_in.config_of(theirs, folder / CONFIG) if opt else theirs
    options = options_of(config, folder / CONFIG)  # first: the kind of another model says more than a missing file
    stored = files.check_finite(files.read_weights(folder) if opt else read_weights(folder))
    found = opt_in.weights_of(stored, theirs, folder / CONFIG) if opt else stored
    check_sizes(options, found, folder / CONFIG)
    dictionary = read_dictionary(folder, tokenizer, config["vocab_size"])
    with torch.device("meta"):
        shapes = new_model(CausalLanguageModel, options, dictionary).state_dict()
    weights = translate(found, shapes, options["tie_embeddings"], folder)
    return build_model(CausalLanguageModel, options, weights, folder, dictionary)


def options_of(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the options of ``causal_lm`` for a config of a GPT-2.

    Args:
        path: named in errors.

    Raises:
        UserError: the config lacks a size, or requires what ``causal_lm`` does not support.
    """
    check_kind(config.get("model_type", FIXED["model_type"]), path)
    files.check_fixed(config, FIXED, path, "causal_lm")
    sizes = files.sizes_of(config, SIZE_KEYS, path)
    width, heads = sizes["decoder_embed_dim"], sizes["decoder_attention_heads"]
    if width % heads:
        raise UserError(f"{path}: n_head {heads} does not divide n_embd {width}")
    inner = {"n_inner": "decoder_ffn_embed_dim"}
    sizes |= files.sizes_of(config, inner, path) if config.get("n_inner") is not None else {}
    activation = config.get("activation_function", "gelu_new")
    if activation not in list(ACTIVATIONS):  # it may be unhashable
        known = ", ".join(ACTIVATIONS)
        raise UserError(f"{path}: activation_function {files.shown(activation)} is not one of {known}")
    return (
        DEFAULTS
        | {"decoder_ffn_embed_dim": None}
        | sizes
        | {ours: files.number_of(config, theirs, 0.1, path) for theirs, ours in DROPOUTS.items()}
        | {
            "activation_fn": ACTIVATIONS[activation],
            "norm_eps": files.number_of(config, "layer_norm_epsilon", 1e-5, path, positive=True),
            "tie_embeddings": files.flag_of(config, "tie_word_embeddings", True, path),
        }
    )


def check_kind(kind: Any, path: Path) -> None:
    """Raise a UserError unless the type of a model that is not a RoBERTa or an OPT is GPT-2's."""
    if kind in OWN:
        raise UserError(f"{path}: model_type {kind} is an export of this package: use the checkpoint it was made from")
    if kind != FIXED["model_type"]:
        known = ", ".join((*MODEL_TYPES, "opt", "gpt2"))
        raise UserError(f"{path}: model_type {files.shown(kind)} cannot be imported, only {known}")


def read_weights(folder: Path) -> dict[str, tuple[Tensor, Path]]:
    """Return {name without ``transformer.``: (tensor, its file)}, without the causal masks of older files."""

    def name_of(name: str) -> str | None:
        return None if name.endswith(BUFFERS) else name.removeprefix("transformer.")

    return tensor_names.renamed(files.read_weights(folder), name_of)


def check_sizes(options: Mapping[str, Any], found: Mapping[str, tuple[Tensor, Path]], path: Path) -> None:
    """Compare the sizes of a config with the stored tensors, before anything is built.

    Raises:
        UserError: they differ.
    """
    tensor_names.check_layers(path, "n_layer", options["decoder_layers"], found, "h.")
    tables = ((TABLE, "vocab_size", options["vocab_size"]), (POSITIONS, "n_positions", options["block_size"]))
    for name, key, rows in tables:
        if name in found:  # a missing one is reported with the other tensors
            shape = found[name][0].shape
            files.check_size(path, key, rows, shape[0])
            files.check_size(path, "n_embd", options["decoder_embed_dim"], shape[-1])
    inner, layer = options["decoder_ffn_embed_dim"], found.get("h.0.mlp.c_fc.weight")
    if inner is not None and layer is not None:
        files.check_size(path, "n_inner", inner, layer[0].shape[-1])


def translate(
    found: Mapping[str, tuple[Tensor, Path]], shapes: Mapping[str, Tensor], tied: bool, folder: Path
) -> dict[str, Tensor]:
    """Return the state dict of a causal LM.

    Args:
        found: returned by :func:`read_weights`.
        shapes: {name: a tensor of its shape} of what is expected.
        tied: the output projection is the embedding, and need not be in the files.
        folder: named in errors.

    Raises:
        UserError: a tensor is missing, unknown, or has an unexpected shape; its file is named.
    """
    weights = {}
    for name, expected in shapes.items():
        theirs = foreign_name(name)
        if theirs not in found and name == "decoder.lm_head.weight" and tied:
            theirs = TABLE
        if theirs not in found:
            raise UserError(f"{files.weight_files(folder)[-1]}: no tensor {theirs}; the file may be truncated")
        tensor, file = found[theirs]
        wanted = expected.t().shape if theirs.endswith(TRANSPOSED) else expected.shape
        if tensor.shape != wanted:
            sizes = f"{list(tensor.shape)}, but {CONFIG} makes it {list(wanted)}"
            raise UserError(f"{file}: {theirs} has the shape {sizes}")
        weights[name] = (tensor.t() if theirs.endswith(TRANSPOSED) else tensor).float()
    unknown = sorted(found.keys() - {*map(foreign_name, shapes)})
    if unknown:
        raise UserError(f"{found[unknown[0]][1]}: contains {unknown[0]}, which causal_lm does not have")
    if tied and not torch.equal(weights["decoder.lm_head.weight"], weights["decoder.transformer.wte.weight"]):
        file = found["lm_head.weight"][1]
        raise UserError(f"{file}: lm_head.weight is not {TABLE}, though {CONFIG} sets tie_word_embeddings")
    return weights


def foreign_name(name: str) -> str:
    """Return Hugging Face's name of one of our tensors, without its ``transformer.``."""
    return name.removeprefix("decoder.").removeprefix("transformer.")


# To a folder


def is_gpt2(model: CausalLanguageModel) -> bool:
    """Return whether transformers' own GPT-2 computes the same function."""
    same = all(str(model.cfg[name]) == str(value) for name, value in SAME.items())
    return same and str(model.cfg.activation_fn) in BACK


def write(model: CausalLanguageModel, folder: str | os.PathLike) -> None:
    """Write a causal LM as a folder that transformers loads; the folder is written atomically.

    Raises:
        UserError: GPT-2 does not support an option or a part of the model, or the folder exists already.
    """
    check_ours(model)
    found = contents(model)
    files.write_folder(folder, found.files | {CONFIG: found.config}, found.tensors)


def contents(model: CausalLanguageModel) -> Contents:
    """Return the content of a GPT-2 folder.

    Raises:
        UserError: GPT-2 does not support an option of the model.
    """
    config, dictionary = config_of(model), model.decoder.dictionary
    ends = {"bos_token_id": dictionary.bos(), "eos_token_id": dictionary.eos(), "pad_token_id": dictionary.eos()}
    ours = tokenizer_files(dictionary) | tokenizers_out.of_decoder(dictionary, model.max_positions())
    return Contents(config, tensors_of(model), ours | {files.GENERATION_CONFIG: ends})


def config_of(model: CausalLanguageModel) -> dict[str, Any]:
    """Return the contents of ``config.json``.

    Raises:
        UserError: GPT-2 does not support an option of the model.
    """
    cfg, dictionary = model.cfg, model.decoder.dictionary
    files.check_untuned(cfg)
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise UserError("the weights of this model were converted to int8, which is for generation; load it again")
    for name, value in SAME.items():
        if str(cfg[name]) != str(value):
            raise UserError(f"GPT-2 has no --{name} {cfg[name]}, only {value}; see plugins.hub.export")
    if str(cfg.activation_fn) not in BACK:
        raise UserError(f"GPT-2 has no --activation-fn {cfg.activation_fn}; see plugins.hub.export")
    return {name: value for name, value in FIXED.items() if value is not None} | {
        "architectures": ["GPT2LMHeadModel"],
        **{theirs: cfg[ours] for theirs, ours in SIZE_KEYS.items()},
        "n_inner": cfg.decoder_ffn_embed_dim,
        "activation_function": BACK[str(cfg.activation_fn)],
        "layer_norm_epsilon": cfg.norm_eps,
        **{theirs: cfg[ours] for theirs, ours in DROPOUTS.items()},
        "tie_word_embeddings": cfg.tie_embeddings,
        "bos_token_id": dictionary.bos(),
        "eos_token_id": dictionary.eos(),
    }


def tokenizer_files(dictionary: TokenDictionary) -> dict[str, bytes]:
    """Return the contents of the tokenizer's files, without the fillers of the last rows, which have no symbol.

    Fillers before a symbol are kept, so that the symbol keeps its row.
    """
    real = max((i for i, symbol in enumerate(dictionary.added, 1) if not symbol.startswith(FILLER)), default=0)
    return TokenDictionary(dictionary.tokenizer, dictionary.added[:real]).files()


def tensors_of(model: CausalLanguageModel) -> dict[str, Tensor]:
    """Return {name: tensor} as GPT2LMHeadModel has them; biases that a model lacks are zeros."""
    state = model.state_dict()
    if model.cfg.tie_embeddings:
        del state["decoder.lm_head.weight"]
    tensors = {}
    for name, tensor in state.items():
        theirs = name.removeprefix("decoder.")
        tensor = tensor.detach().float()
        tensors[theirs] = (tensor.t() if theirs.endswith(TRANSPOSED) else tensor).contiguous()
        bias = theirs.removesuffix("weight") + "bias"
        if not model.cfg.bias and theirs.startswith(("transformer.h.", "transformer.ln_f")):
            tensors[bias] = tensor.new_zeros(len(tensor))
    return tensors
