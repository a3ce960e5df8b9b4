"""OPT as GPT-2: both are pre-norm decoders with learned positions, and differ in names and in the layout of tensors.

Zhang et al., 2022, arXiv 2205.01068. OPT-125M and OPT-1.3B and above are of this form; OPT-350M is post-norm with a
projected embedding, and is not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.errors import UserError

from . import files, tensor_names

FIXED = {  # values that are fixed in the model
    "do_layer_norm_before": True,
    "_remove_final_layer_norm": False,
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "quantization_config": None,
}
CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "n_positions",
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "ffn_dim": "n_inner",
    "activation_function": "activation_function",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "tie_word_embeddings": "tie_word_embeddings",
    "bos_token_id": "bos_token_id",
    "eos_token_id": "eos_token_id",
}
SIZE_KEYS = tuple(CONFIG_KEYS)[:6]
DEFAULTS = {"activation_function": "relu", "dropout": 0.1, "attention_dropout": 0.0}
OFFSET = 2  # rows of the position table before that of the first position
WORDS, PLACES, INNER = "embed_tokens.weight", "embed_positions.weight", "layers.0.fc1.weight"
REST = {
    WORDS: "wte.weight",
    PLACES: "wpe.weight",
    "final_layer_norm.weight": "ln_f.weight",
    "final_layer_norm.bias": "ln_f.bias",
    "lm_head.weight": "lm_head.weight",
}
LAYER = {"self_attn_layer_norm": "ln_1", "final_layer_norm": "ln_2", "self_attn.out_proj": "attn.c_proj",
         "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}  # fmt: skip
LAYERS, PROJECTIONS = "layers.", ("q_proj", "k_proj", "v_proj")

Found = Mapping[str, tuple[Tensor, Path]]


def config_of(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the config of a GPT-2 for that of an OPT.

    Args:
        path: named in errors.

    Raises:
        UserError: the config lacks a size, or requires what GPT-2 does not support.
    """
    files.check_fixed(config, FIXED, path, "causal_lm")
    files.sizes_of(config, {name: name for name in SIZE_KEYS}, path)
    projected = config.get("word_embed_proj_dim") or config["hidden_size"]
    if projected != config["hidden_size"]:
        raise UserError(f"{path}: word_embed_proj_dim {files.shown(projected)} is not hidden_size, as in OPT-350M; "
                        "causal_lm has no projected embedding")  # fmt: skip
    if config["hidden_size"] % config["num_attention_heads"]:
        heads, width = config["num_attention_heads"], config["hidden_size"]
        raise UserError(f"{path}: num_attention_heads {heads} does not divide hidden_size {width}")
    config = DEFAULTS | dict(config)
    names = {ours: config[theirs] for theirs, ours in CONFIG_KEYS.items() if theirs in config}
    return names | {"model_type": "gpt2", "embd_pdrop": 0.0, "layer_norm_epsilon": 1e-5}


def weights_of(found: Found, config: Mapping[str, Any], path: Path) -> dict[str, tuple[Tensor, Path]]:
    """Return {GPT-2's name: (tensor, its file)} of an OPT's tensors; unknown ones keep their names.

    Args:
        config: that of the OPT, compared with the tensors.
        path: path of the config, named in errors.

    Raises:
        UserError: one of the three projections of an attention layer is missing, a size is not that of the config, or
            two tensors have the same name in GPT-2.
    """
    found = tensor_names.renamed(found, lambda name: name.removeprefix("model.").removeprefix("decoder."))
    check_sizes(config, found, path)
    renamed: dict[str, tuple[Tensor, Path]] = {}

    def add(new: str, tensor: Tensor, file: Path) -> None:
        if new in renamed:
            raise UserError(f"{file}: two of its tensors are {new} of a GPT-2; a name among them is not one of an OPT")
        renamed[new] = (tensor, file)

    for short, (tensor, file) in found.items():
        name = short
        if not short.startswith(LAYERS):
            tensor = tensor[OFFSET:] if short == PLACES else tensor
            add(REST.get(short, name), tensor, file)
            continue
        number, _, rest = short.removeprefix(LAYERS).partition(".")
        part, _, kind = rest.rpartition(".")
        if part.rpartition(".")[2] in PROJECTIONS:
            if part.endswith("q_proj"):
                parts = [found.get(name.replace("q_proj", other)) for other in PROJECTIONS]
                if None in parts or len({each[0].shape for each in parts if each}) > 1:
                    raise UserError(f"{file}: {name} has no k_proj and v_proj of its shape; the file may be truncated")
                whole = torch.cat([each[0] for each in parts if each])  # (3 C, C), or (3 C,)
                add(f"h.{number}.attn.c_attn.{kind}", whole.t() if whole.ndim == 2 else whole, file)
            continue
        transposed = tensor.ndim == 2  # GPT-2 stores linear layers as (in, out)
        add(f"h.{number}.{LAYER.get(part, part)}.{kind}", tensor.t() if transposed else tensor, file)
    return renamed


def check_sizes(config: Mapping[str, Any], found: Found, path: Path) -> None:
    """Compare the sizes of a config with the stored tensors.

    Raises:
        UserError: they differ.
    """
    tensor_names.check_layers(path, "num_hidden_layers", config["num_hidden_layers"], found, LAYERS)
    shapes = {name: tuple(found[name][0].shape) for name in (WORDS, PLACES, INNER) if name in found}
    rows = ((WORDS, "vocab_size", 0), (PLACES, "max_position_embeddings", OFFSET), (INNER, "ffn_dim", 0))
    for name, key, offset in rows:
        if name in shapes:  # a missing one is reported with the other tensors
            files.check_size(path, key, config[key], (shapes[name] or (0,))[0] - offset)
            files.check_size(path, "hidden_size", config["hidden_size"], (shapes[name] or (0,))[-1])
