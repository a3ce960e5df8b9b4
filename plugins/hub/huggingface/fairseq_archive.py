"""fairseq's published RoBERTa archives (``roberta.base``, ``roberta.large``): ``model.pt`` and ``dict.txt``."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.checkpoints import read_state, roberta
from plugins.data.text.tokenizers import DICTIONARY_FILE, SENTENCEPIECE_FILE
from plugins.errors import UserError
from plugins.files import read_bytes

from . import masked_checkpoint

MODEL = "model.pt"
GPT2 = ("encoder.json", "vocab.bpe")
FETCH = "scripts/get_data.py gpt2-bpe fetches them"


def is_archive(folder: str | Path) -> bool:
    """Return whether a folder is an unpacked archive."""
    return all((Path(folder) / name).exists() for name in (MODEL, DICTIONARY_FILE))


def convert(folder: str | Path, output: str | Path, tokenizer: str | Path | None = None) -> Any:
    """Write an archive as a clap_roberta checkpoint, with dictionary and tokenizer next to it; return the model.

    Args:
        folder: the unpacked archive.
        output: the ``.pt`` file to write.
        tokenizer: where ``encoder.json`` and ``vocab.bpe`` are, or ``sentencepiece.bpe.model``, if not in the folder:
            the archives of RoBERTa come without them.

    Raises:
        UserError: a file is missing or damaged, or the model is not a RoBERTa.
    """
    folder, source = Path(folder), Path(tokenizer or folder)
    path = folder / MODEL
    state = read_state(path)
    state["model"] = renamed(state["model"])
    options = roberta.of_checkpoint(state)
    if not options or roberta.TABLE not in state["model"]:
        raise UserError(f"{path}: not a RoBERTa of fairseq's")
    if all((source / name).exists() for name in GPT2):
        names = GPT2
    elif (source / SENTENCEPIECE_FILE).exists():
        names = (SENTENCEPIECE_FILE,)
    else:
        raise UserError(f"{source}: no {' and '.join(GPT2)}; name their folder with --tokenizer ({FETCH})")
    files = {name: read_bytes(source / name) for name in names}
    files[DICTIONARY_FILE] = read_bytes(folder / DICTIONARY_FILE)
    weights = {name: tensor.float() for name, tensor in state["model"].items() if "classification_heads" not in name}
    weights.setdefault("encoder.sentence_encoder.version", torch.tensor([3.0]))
    if "encoder.lm_head.weight" not in weights:
        weights["encoder.lm_head.weight"] = weights[roberta.TABLE]
    return masked_checkpoint.write(output, options, weights, files, path)


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by their present names: earlier versions of fairseq have a ``decoder`` and fused projections."""
    found = {}
    for name, tensor in tensors.items():
        name = f"encoder.{name.removeprefix('decoder.')}" if name.startswith("decoder.") else name
        name = name.replace(".emb_layer_norm.", ".layernorm_embedding.")
        if ".self_attn.in_proj_" in name:
            kind = name.rpartition("_")[2]
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace(f"in_proj_{kind}", f"{part}_proj.{kind}")] = third
        else:
            found[name] = tensor
    return found
