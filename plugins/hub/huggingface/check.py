"""Compare an exported folder, as transformers loads it, with the model that it was made from."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.files import read_json

from ..embedder import Embedder
from ..roberta import RobertaInterface
from ..scorer import Scorer
from .files import CONFIG

ENCODERS = ("MaskedLM", "SequenceClassification")  # ends of the names of classes
TEXTS, LENGTH = 4, 64  # shape of the random tokens that are compared


@torch.inference_mode()
def largest_difference(model: Any, folder: str | Path, head: str | None = None) -> float:
    """Return the largest absolute difference of logits, on random tokens, between a model and its exported folder.

    The code in the folder is run.

    Args:
        model: returned by :func:`plugins.hub.load`, in float32.
        folder: returned by :func:`.export.export`.
        head: the classification head that was exported, where the model has several.
    """
    import transformers

    kind = read_json(Path(folder) / CONFIG, dict)["architectures"][0]
    auto = f"AutoModelFor{next((end for end in ENCODERS if kind.endswith(end)), 'CausalLM')}"
    theirs = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    lm: Any = model.lm if isinstance(model, Embedder) else model
    longest = min(LENGTH, int(lm.options.get("max_positions") or lm.options.get("block_size") or LENGTH))
    least = 4 if isinstance(lm, RobertaInterface) else 0  # no padding, which the two represent differently
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(least, len(lm.dictionary), (TEXTS, longest), generator=generator)  # (B, T)
    ours, others = logits_of(model, tokens, kind, head), theirs(tokens).logits.float()
    return torch.where(ours == others, 0.0, ours - others).abs().max().item()  # words that are never predicted: -inf


def logits_of(model: Any, tokens: Tensor, kind: str, head: str | None) -> Tensor:
    """Return our logits of tokens (B, T): (B, T, V), or of a classification (B, K)."""
    if isinstance(model, Scorer):
        features = model.model(tokens, features_only=True)[0]  # (B, T, C)
        return model.head(features, torch.full((len(tokens),), tokens.size(1)))[:, None]
    lm: Any = model.lm if isinstance(model, Embedder) else model
    if kind.endswith("SequenceClassification"):
        return lm.predict(head or next(iter(lm.model.classification_heads)), tokens, return_logits=True)
    return lm.model(tokens)[0]
