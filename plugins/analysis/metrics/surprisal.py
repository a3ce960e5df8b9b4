"""The surprisal of each token of a text, with the tokens that a language model expected.

The surprisal of a token is -log2 p, in bits (Hale, 2001, "A probabilistic Earley parser as a psycholinguistic model").
A causal model gives p from the tokens before it. For a masked LM, p is the probability at a mask in the token's place,
given all the other tokens: the terms of the pseudo-log-likelihood (Salazar et al., 2020, "Masked Language Model
Scoring", eq. 1). The two kinds cannot be compared with each other.

Shapes: T tokens, V symbols, k first choices.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from fairseq import utils
from torch import Tensor

from plugins.analysis.language_model import LanguageModel, TextGenerator
from plugins.data.dictionaries import MASK
from plugins.errors import UserError

MASKED_AT_ONCE = 32  # copies of a text in a forward pass, each with another mask


@dataclass(frozen=True)
class Surprisal:
    """Surprisal and a model's first choices at each token.

    Attributes:
        ids: (T,) the tokens.
        bits: (T,) float64 surprisals; NaN for tokens that are not predicted: the first one of a causal model, and
            special tokens.
        choices: (T, k) ids of the likeliest tokens, best first.
        probabilities: (T, k) of the choices; NaN where ``bits`` is.
    """

    ids: Tensor
    bits: Tensor
    choices: Tensor
    probabilities: Tensor

    @property
    def mean_bits(self) -> float:
        """The mean over the predicted tokens: the loss of a causal model, the pseudo-loss of a masked LM."""
        return self.bits.nanmean().item()

    @property
    def perplexity(self) -> float:
        """2 to the mean: perplexity for a causal model, pseudo-perplexity for a masked LM."""
        return 2**self.mean_bits


@torch.inference_mode()
def surprisal(lm: LanguageModel, text: str, k: int = 5) -> Surprisal:
    """Return the surprisal of each token of a text, and the model's k first choices in its place.

    Args:
        lm: returned by ``plugins.hub.load``.
        text: at least two tokens; longer texts than a block are read in blocks by a causal model.
        k: number of choices; at most V.

    Raises:
        UserError: the text is too short, too long for a masked LM, contains ``<mask>``, or an unknown character.
    """
    if lm.fills_masks and MASK in text:
        raise UserError(f"{MASK} in the text: a masked token has no surprisal; leave it out")
    ids = lm.encode(text).cpu()
    if len(ids) < 2:
        raise UserError(f"{text[:40]!r}: at least two tokens are needed, one to predict from and one to predict")
    if lm.fills_masks:
        places, logits = _masked(lm, ids)
    else:
        places, logits = torch.arange(1, len(ids)), cast(TextGenerator, lm).logits(text)[:-1].cpu()
    logp = logits.double().log_softmax(-1)  # (N, V)
    bits = torch.full((len(ids),), math.nan, dtype=torch.float64)
    bits[places] = -logp.gather(1, ids[places, None])[:, 0] / math.log(2)
    best, order = logp.topk(min(k, logp.size(1)))  # (N, k)
    choices, probabilities = ids.new_zeros(len(ids), order.size(1)), bits.new_full((len(ids), order.size(1)), math.nan)
    choices[places], probabilities[places] = order, best.exp()
    return Surprisal(ids, bits, choices, probabilities)


def _masked(lm: LanguageModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions (N,) of ordinary tokens, and the logits (N, V) with each of them masked in turn."""
    if len(ids) > lm.model.max_positions():
        raise UserError(f"{len(ids)} tokens, but the model takes {lm.model.max_positions()} at most")
    places = (ids >= lm.dictionary.nspecial).nonzero()[:, 0]  # (N,)
    if not len(places):
        raise UserError("the text has no token to predict")
    return places, masked_logits(lm, ids, places)


def masked_logits(lm: LanguageModel, ids: Tensor, places: Tensor) -> Tensor:
    """Return the logits (N, V) at some places (N,) of a text (T,), each of which is masked in turn."""
    device, rows = next(lm.model.parameters()).device, []
    with utils.model_eval(lm.model):
        for part in places.split(MASKED_AT_ONCE):
            tokens = ids.repeat(len(part), 1)  # (B, T)
            tokens[torch.arange(len(part)), part] = lm.dictionary.index(MASK)
            features, _ = lm.model(tokens.to(device), features_only=True)  # (B, T, C)
            picked = features[torch.arange(len(part), device=device), part.to(device)]  # (B, C)
            rows.append(lm.model.encoder.output_layer(picked).float().cpu())  # (B, V)
    return torch.cat(rows)
