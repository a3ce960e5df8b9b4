"""GPT-2 in the files of Hugging Face transformers: a folder to a causal LM, and back.

``config.json``; ``model.safetensors`` or ``pytorch_model.bin``, in parts or whole; the tokenizer's files.
"""

import json
import secrets
import shutil
from pathlib import Path

import torch
from omegaconf import OmegaConf

from plugins import compat
from plugins.data.dictionaries import FILLER
from plugins.data.text.causal_tokenizers import ByteLevelBPE, read_json
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.causal_lm_config import DEFAULTS

from .checkpoints import build_model, new_model

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there; either may be FILE.index.json, in parts
FIXED = {  # what the model does, whatever it may be told
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
BACK = {"gelu_tanh": "gelu_new", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new", "gelu": "gelu", "relu": "relu"}
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # linear layers that are stored as (in, out)
BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks in older files
TABLE = "wte.weight"
INSTALL = "pip install safetensors (or pip install -e '.[hf]')"


def is_folder(path):
    """Tell whether a path is a folder of Hugging Face's."""
    return (Path(path) / CONFIG).exists()


# From the folder


def read(folder, tokenizer=None):
    """Return the CausalLanguageModel of a GPT-2's folder, in float32.

    Args:
        folder: with ``config.json`` and the weights.
        tokenizer: where the tokenizer's files are, if not in it.

    Raises:
        UserError: a file is missing or damaged; the config asks for what ``causal_lm`` does not do; or a tensor is
            missing, unknown, or has an unexpected shape.
    """
    folder = Path(folder)
    config = read_config(folder / CONFIG)
    options = options_of(config, folder / CONFIG)
    dictionary = read_dictionary(folder, tokenizer, config["vocab_size"])
    with torch.device("meta"):
        shapes = new_model(CausalLanguageModel, options, dictionary).state_dict()
    weights = read_weights(folder, shapes, options["tie_embeddings"])
    return build_model(CausalLanguageModel, options, weights, folder, dictionary)


def read_config(path):
    config = read_json(path, dict)
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise UserError(f"{path}: {name} {config[name]} is not what causal_lm does, which is {value}")
    missing = {"vocab_size", "n_positions", "n_embd", "n_layer", "n_head"} - config.keys()
    if missing:
        raise UserError(f"{path}: no {min(missing)}, so it is no GPT-2's")
    return config


def options_of(config, path):
    """Return the options of ``causal_lm`` for a config of Hugging Face's."""
    activation = config.get("activation_function", "gelu_new")
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UserError(f"{path}: activation_function {activation} is not known to causal_lm, which has {known}")
    return DEFAULTS | {
        "decoder_layers": config["n_layer"],
        "decoder_attention_heads": config["n_head"],
        "decoder_embed_dim": config["n_embd"],
        "decoder_ffn_embed_dim": config.get("n_inner"),
        "block_size": config["n_positions"],
        "activation_fn": ACTIVATIONS[activation],
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "tie_embeddings": config.get("tie_word_embeddings", True),
        "dropout": config.get("resid_pdrop", 0.1),
        "embedding_dropout": config.get("embd_pdrop", 0.1),
        "attention_dropout": config.get("attn_pdrop", 0.1),
    }


def read_dictionary(folder, tokenizer, rows):
    """Return the dictionary, with a filler for each row of the table that has no symbol."""
    source = tokenizer or folder
    try:
        dictionary = TokenDictionary.from_files(source)
    except UserError as error:
        raise UserError(f"{error}; name another with --tokenizer" if tokenizer is None else str(error)) from None
    dictionary.fill(rows)
    if len(dictionary) > rows:
        raise UserError(f"{source}: the tokenizer has {len(dictionary)} symbols, and the model only {rows}")
    return dictionary


def read_weights(folder, shapes, tied):
    """Return the state dict of a causal LM.

    Args:
        shapes: {name: a tensor of its shape} of what is expected.
        tied: the output projection is the embedding, and need not be in the files.

    Raises:
        UserError: a tensor is missing, unknown, or has an unexpected shape; its file is named.
    """
    found, weights = {}, {}
    for file in weight_files(folder):
        for name, tensor in read_tensors(file).items():
            name = name.removeprefix("transformer.")
            if not name.endswith(BUFFERS):
                found[name] = (tensor, file)
    for name, expected in shapes.items():
        theirs = foreign_name(name)
        if theirs not in found and name == "decoder.lm_head.weight" and tied:
            theirs = TABLE
        if theirs not in found:
            raise UserError(f"{weight_files(folder)[-1]}: no tensor {theirs}; is the file whole?")
        tensor, file = found[theirs]
        wanted = expected.t().shape if theirs.endswith(TRANSPOSED) else expected.shape
        if tensor.shape != wanted:
            sizes = f"{list(tensor.shape)}, but {CONFIG} makes it {list(wanted)}"
            raise UserError(f"{file}: {theirs} has the shape {sizes}")
        weights[name] = (tensor.t() if theirs.endswith(TRANSPOSED) else tensor).float()
    unknown = sorted(found.keys() - {*map(foreign_name, shapes)})
    if unknown:
        raise UserError(f"{found[unknown[0]][1]}: holds {unknown[0]}, for which causal_lm has no place")
    if tied and not torch.equal(weights["decoder.lm_head.weight"], weights["decoder.transformer.wte.weight"]):
        file = found["lm_head.weight"][1]
        raise UserError(f"{file}: lm_head.weight is not {TABLE}, though {CONFIG} says tie_word_embeddings")
    return weights


def foreign_name(name):
    """Return what Hugging Face calls a tensor of ours, without its ``transformer.``."""
    return name.removeprefix("decoder.").removeprefix("transformer.")


def weight_files(folder):
    """Return the paths of the files that hold the weights.

    Raises:
        UserError: there are none.
    """
    for name in WEIGHTS:
        if (folder / name).exists():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.exists():
            return [folder / part for part in sorted(set(read_json(index, dict).get("weight_map", {}).values()))]
    raise UserError(f"{folder}: no weights in this folder ({' or '.join(WEIGHTS)})")


def read_tensors(path):
    """Return {name: tensor} of a file.

    Raises:
        UserError: it is missing or damaged, or holds more than tensors.
    """
    if path.suffix == ".bin":
        return compat.read_tensors(path)
    load_file = safetensors().load_file
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # of a class that only its library knows
        raise UserError(f"{path}: damaged, or not in safetensors' format ({error})") from None


def safetensors():
    try:
        import safetensors.torch
    except ImportError:
        raise UserError(f"the weights are in safetensors' format: {INSTALL}") from None
    return safetensors.torch


# To a folder


def write(model, folder):
    """Write a causal LM as a folder that Hugging Face transformers loads; the folder appears whole or not at all.

    A tokenizer that is no byte-level BPE goes along in its own files, which transformers does not read but we do.

    Raises:
        UserError: GPT-2 has no place for an option of the model, or the folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: is there already; name a new folder")
    files, weights, dictionary = config_files(model), tensors_of(model), model.decoder.dictionary
    if isinstance(dictionary.tokenizer, ByteLevelBPE):
        files["tokenizer_config.json"] = tokenizer_config(dictionary, model.max_positions())
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        for name, content in files.items():
            (part / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for name, content in tokenizer_files(dictionary).items():
            (part / name).write_bytes(content)
        safetensors().save_file(weights, part / WEIGHTS[0], {"format": "pt"})
        part.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def config_files(model):
    """Return the contents of config.json and generation_config.json.

    Raises:
        UserError: GPT-2 has no place for an option of the model.
    """
    cfg, dictionary = model.cfg, model.decoder.dictionary
    if OmegaConf.select(cfg, "peft") not in (None, "none"):
        raise UserError(f"this model is tuned by --peft {cfg.peft}; merge it first: scripts/merge_peft.py")
    for name, value in {"positions": "learned", "residual": True}.items():
        if cfg[name] != value:
            raise UserError(f"GPT-2 has no --{name} {cfg[name]}, only {value}; this model cannot be exported")
    if str(cfg.activation_fn) not in BACK:
        raise UserError(f"GPT-2 has no --activation-fn {cfg.activation_fn}; this model cannot be exported")
    ends = {"bos_token_id": dictionary.bos(), "eos_token_id": dictionary.eos()}
    config = {name: value for name, value in FIXED.items() if value is not None}
    config |= {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": cfg.vocab_size,
        "n_positions": cfg.block_size,
        "n_embd": cfg.decoder_embed_dim,
        "n_layer": cfg.decoder_layers,
        "n_head": cfg.decoder_attention_heads,
        "n_inner": cfg.decoder_ffn_embed_dim,
        "activation_function": BACK[str(cfg.activation_fn)],
        "layer_norm_epsilon": cfg.norm_eps,
        "resid_pdrop": cfg.dropout,
        "embd_pdrop": cfg.embedding_dropout,
        "attn_pdrop": cfg.attention_dropout,
        "tie_word_embeddings": cfg.tie_embeddings,
        **ends,
    }
    return {CONFIG: config, "generation_config.json": ends}


def tokenizer_config(dictionary, length):
    """Return the contents of tokenizer_config.json."""
    end = dictionary[dictionary.eos()]
    return {
        "tokenizer_class": "GPT2Tokenizer",
        **dict.fromkeys(("bos_token", "eos_token", "unk_token"), end),
        "model_max_length": length,
        "add_prefix_space": False,
    }


def tokenizer_files(dictionary):
    """Return the contents of the tokenizer's files, without the fillers of the last rows, which have no symbol.

    Fillers with a symbol after them stay, or it would get the row of the first of them.
    """
    real = max((i for i, symbol in enumerate(dictionary.added, 1) if not symbol.startswith(FILLER)), default=0)
    return TokenDictionary(dictionary.tokenizer, dictionary.added[:real]).files()


def tensors_of(model):
    """Return {name: tensor} as GPT2LMHeadModel has them; biases that a model does without are zeros."""
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
