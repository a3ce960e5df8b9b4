"""RoBERTa-class folders of transformers as checkpoints of clap_roberta: RoBERTa, CamemBERT, XLM-R, BERT and others.

BERT has the same layers, other names, positions that count from row 0, and a second segment, which is not used: the
two texts of a pair are separated by ``</s></s>`` as in RoBERTa.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from plugins.errors import UserError
from plugins.files import read_json
from plugins.models.clap_roberta_config import DEFAULTS

from . import files, masked_checkpoint, roberta_vocabulary, sentence_in, tensor_names
from .files import CONFIG
from .roberta_names import BERT, THEIRS, our_name

logger = logging.getLogger(__name__)

MODEL_TYPES = ("roberta", "camembert", "xlm-roberta", "bert")
FIXED = {  # values that are fixed in the model
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
SIZE_KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "encoder_embed_dim",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_embed_dim",
    "max_position_embeddings": "max_positions",
}
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_accurate",
    "gelu_fast": "gelu_accurate",
    "gelu_pytorch_tanh": "gelu_accurate",
    "relu": "relu",
    "tanh": "tanh",
    "linear": "linear",
}
# Not part of the masked LM: the pooler of next-sentence prediction, and buffers.
IGNORED = ("roberta.pooler.", "roberta.embeddings.position_ids", "roberta.embeddings.token_type_ids",
           "cls.seq_relationship.")  # fmt: skip
WORDS = "roberta.embeddings.word_embeddings.weight"
PLACES = "roberta.embeddings.position_embeddings.weight"
TYPES = "roberta.embeddings.token_type_embeddings.weight"
HEAD = "lm_head"
PAD = roberta_vocabulary.SPECIAL.index("<pad>")
BIAS, DECODER, DECODER_BIAS = "lm_head.bias", "lm_head.decoder.weight", "lm_head.decoder.bias"

Found = Mapping[str, tuple[Tensor, Path]]


def is_roberta(folder: str | Path) -> bool:
    """Return whether a folder's ``config.json`` names a RoBERTa or a BERT."""
    path = Path(folder) / CONFIG
    return path.exists() and read_json(path, dict).get("model_type") in MODEL_TYPES


def convert(folder: str | Path, output: str | Path, tokenizer: str | Path | None = None) -> Any:
    """Write a folder as a checkpoint, with its dictionary and tokenizer next to it; return the model.

    Args:
        folder: with ``config.json`` and the weights.
        output: the ``.pt`` file to write.
        tokenizer: where the tokenizer's files are, if not in the folder.

    A folder without the LM's head, as of sentence-transformers, gets a new one, with a warning.

    Raises:
        UserError: a file is missing or damaged; the config requires an unsupported option; its sizes are not
            those of the weights; or a tensor is missing, unknown, or has an unexpected shape.
    """
    folder = Path(folder)
    config, path = read_json(folder / CONFIG, dict), folder / CONFIG
    options = options_of(config, path)
    found = files.check_finite(read_weights(folder))
    check_sizes(config, found, path)
    named = "ForMaskedLM" in str(config.get("architectures"))  # and a head is missing from a truncated file
    headless = not named and not any(name.startswith(HEAD) for name in found)
    if headless:
        found |= new_head(options, found[WORDS])
    vocabulary = roberta_vocabulary.read(Path(tokenizer or folder), config, options["vocab_size"])
    pad = vocabulary.rows[PAD]
    if not is_bert(config) and first_position(config, path) != pad + 1:  # positions count tokens other than this one
        raise UserError(f"{path}: pad_token_id {config['pad_token_id']} is not that of the tokenizer's <pad>, {pad}")
    weights = translate(found, config, vocabulary.rows, options["untie_weights_roberta"], folder)
    if headless:
        logger.warning("%s: no %s; it starts from random weights, so train it before filling masks", folder, HEAD)
    sentence_in.warn(folder)
    return masked_checkpoint.write(output, options, weights, vocabulary.files, path)


def options_of(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the options of clap_roberta for a config of a RoBERTa.

    Args:
        path: named in errors.

    Raises:
        UserError: the config lacks a size, or requires what clap_roberta does not support.
    """
    files.check_fixed(config, FIXED, path, "clap_roberta")
    sizes = files.sizes_of(config, SIZE_KEYS, path)
    if sizes["encoder_embed_dim"] % sizes["encoder_attention_heads"]:
        heads, width = sizes["encoder_attention_heads"], sizes["encoder_embed_dim"]
        raise UserError(f"{path}: num_attention_heads {heads} does not divide hidden_size {width}")
    activation = config.get("hidden_act", "gelu")
    if activation not in list(ACTIVATIONS):  # it may be unhashable
        raise UserError(f"{path}: hidden_act {files.shown(activation)} is not one of {', '.join(ACTIVATIONS)}")
    sizes["max_positions"] -= first_position(config, path)
    if sizes["max_positions"] < 1:
        raise UserError(f"{path}: max_position_embeddings {config['max_position_embeddings']} leaves no position")
    dropout = files.number_of(config, "hidden_dropout_prob", 0.1, path)
    classifier = "hidden_dropout_prob" if config.get("classifier_dropout") is None else "classifier_dropout"
    return DEFAULTS | sizes | {
        "positions": "learned",
        "head": "roberta",
        "mask_embedding": "learned",
        "normalize_embeddings": False,
        "activation_fn": ACTIVATIONS[activation],
        "head_activation_fn": "gelu",
        "norm_eps": files.number_of(config, "layer_norm_eps", 1e-12, path, positive=True),
        "untie_weights_roberta": not files.flag_of(config, "tie_word_embeddings", True, path),
        "dropout": dropout,
        "attention_dropout": files.number_of(config, "attention_probs_dropout_prob", 0.1, path),
        "pooler_dropout": files.number_of(config, classifier, 0.1, path),
    }  # fmt: skip


def first_position(config: Mapping[str, Any], path: Path) -> int:
    """Return the row of the first position: RoBERTa's count from the row after padding's, BERT's from 0.

    Raises:
        UserError: ``pad_token_id`` is not an index.
    """
    pad = config.get("pad_token_id", 1)
    if not isinstance(pad, int) or isinstance(pad, bool) or pad < 0:
        raise UserError(f"{path}: pad_token_id {files.shown(pad)} is not the index of a symbol")
    return 0 if is_bert(config) else pad + 1


def is_bert(config: Mapping[str, Any]) -> bool:
    """Return whether a config is a BERT's."""
    return config.get("model_type") == "bert"


def read_weights(folder: Path) -> dict[str, tuple[Tensor, Path]]:
    """Return {name: (tensor, its file)} by RoBERTa's names, with ``roberta.`` where a bare model leaves it out."""

    def name_of(name: str) -> str | None:
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        name = f"roberta.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
        start = next((start for start in BERT if name.startswith(start)), "")
        name = BERT.get(start, "") + name.removeprefix(start)
        return None if name.startswith(IGNORED) else name

    return tensor_names.renamed(files.read_weights(folder), name_of)


def new_head(options: Mapping[str, Any], words: tuple[Tensor, Path]) -> dict[str, tuple[Tensor, Path]]:
    """Return the tensors of a head of the masked LM at its start, as transformers initializes it.

    Args:
        words: the embedding table (V, C), and its file.
    """
    (rows, width), file = words[0].shape, words[1]
    dense = torch.randn(width, width, generator=torch.Generator().manual_seed(0)) * 0.02
    tensors = {
        "lm_head.dense.weight": dense,
        "lm_head.dense.bias": torch.zeros(width),
        "lm_head.layer_norm.weight": torch.ones(width),
        "lm_head.layer_norm.bias": torch.zeros(width),
        BIAS: torch.zeros(rows),
    } | ({DECODER: words[0].clone()} if options["untie_weights_roberta"] else {})
    return {name: (tensor, file) for name, tensor in tensors.items()}


def check_sizes(config: Mapping[str, Any], found: Found, path: Path) -> None:
    """Compare the sizes of a config with the stored tensors, before anything is built.

    Raises:
        UserError: they differ, or a table is missing or of another shape.
    """
    tensor_names.check_layers(path, "num_hidden_layers", config["num_hidden_layers"], found, THEIRS)
    missing = next((name for name in (WORDS, PLACES, TYPES) if name not in found), None)
    if missing is not None:
        raise UserError(f"{files.weight_files(path.parent)[-1]}: no tensor {missing}; the file may be truncated")
    words, places, types = (found[name][0].shape for name in (WORDS, PLACES, TYPES))
    rows, width, length = config["vocab_size"], config["hidden_size"], config["max_position_embeddings"]
    files.check_size(path, "vocab_size", rows, words[0])
    files.check_size(path, "hidden_size", width, words[-1])
    files.check_size(path, "max_position_embeddings", length, places[0])
    files.check_size(path, "type_vocab_size", config.get("type_vocab_size", types[0]), types[0])
    segments = types[0] or 1  # no model has none
    tables = {WORDS: (rows, width), PLACES: (length, width), TYPES: (segments, width), DECODER: (rows, width)}
    shapes = tables | {BIAS: (rows,), DECODER_BIAS: (rows,)}
    for name, wanted in shapes.items():
        if name in found and found[name][0].shape != wanted:  # a missing one is reported with the other tensors
            stored, file = list(found[name][0].shape), found[name][1]
            raise UserError(f"{file}: {name} has the shape {stored}, but {CONFIG} makes it {list(wanted)}")
    inner = found.get(f"{THEIRS}0.intermediate.dense.weight")
    if inner is not None:
        files.check_size(path, "intermediate_size", config["intermediate_size"], len(inner[0]))


def translate(
    found: Found, config: Mapping[str, Any], rows: list[int], untied: bool, folder: Path
) -> dict[str, Tensor]:
    """Return the state dict of clap_roberta.

    Segments are folded into the positions: RoBERTa has one segment, and others are not used unless requested.

    Args:
        found: returned by :func:`read_weights`.
        rows: for each word of our dictionary, its row there.
        untied: the output has its own table.
        folder: named in errors.

    Raises:
        UserError: a tensor is unknown, or missing.
    """
    weights = {}
    for name, (tensor, file) in found.items():
        ours = our_name(name)
        if ours is None and name not in (TYPES, DECODER_BIAS):
            raise UserError(f"{file}: contains {name}, which clap_roberta does not have")
        if ours is not None:
            weights[ours] = tensor.float()
    first = first_position(config, folder / CONFIG)
    places = found[PLACES][0].float()[first:] + found[TYPES][0].float()[0]  # (T, C)
    ours = {name: cast(str, our_name(name)) for name in (WORDS, PLACES, BIAS, DECODER)}
    weights[ours[PLACES]] = torch.cat([places.new_zeros(2, places.size(1)), places])  # padding's row, and one before
    order = torch.tensor(rows)
    if untied and DECODER_BIAS in found:  # which is then a separate parameter, and the one in use
        weights[ours[BIAS]] = found[DECODER_BIAS][0].float()
    for name in (WORDS, BIAS, DECODER):
        if ours[name] in weights:
            weights[ours[name]] = weights[ours[name]][order]
    if ours[DECODER] not in weights and not untied:
        weights[ours[DECODER]] = weights[ours[WORDS]]
    if not untied and not torch.equal(weights[ours[DECODER]], weights[ours[WORDS]]):
        raise UserError(f"{found[DECODER][1]}: {DECODER} is not {WORDS}, though {CONFIG} sets tie_word_embeddings")
    weights["encoder.sentence_encoder.version"] = torch.tensor([3.0])
    return weights
