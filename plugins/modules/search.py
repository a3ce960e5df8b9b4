"""Shared by all search methods of :mod:`.generation`: the model's interface, the options, steps over a cache.

Shapes: B prompts, R unfinished texts, T tokens, C channels, V tokens in the vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .cache import Cache
from .decoding import Stepper


class Model(Protocol):
    """Interface of a model for generation; see the module's docstring."""

    def new_cache(self, batch: int) -> Cache:
        """Return an empty cache for a batch of this size."""

    def extract_features(self, tokens: Tensor, *, cache: Cache) -> tuple[Tensor, Any]:
        """Map new tokens (B, T), which follow the cache, to features (B, T, C)."""

    def output_layer(self, features: Tensor) -> Tensor:
        """Map features (..., C) to logits (..., V)."""


@dataclass(frozen=True)
class Search:
    """The search method.

    Attributes:
        temperature: divides the logits before a token is drawn; 0 always takes the likeliest token.
        top_k, top_p: draw from the likeliest tokens only, see :func:`.sampling.keep_likeliest`.
        beam: hypotheses per prompt; from 2 on, beam search looks for the likeliest text.
        length_penalty: beam search divides the log-probability of a text by its length to this power (Wu et al.,
            2016, without their constant 5). 0 prefers short texts; at most 10 in size, since powers would overflow.
        seed: random seed.

    Raises:
        ValueError: a value is out of range, or values contradict each other.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    beam: int = 1
    length_penalty: float = 1.0
    seed: int = 1

    def __post_init__(self):
        for wrong, message in (
            (self.temperature < 0, f"a temperature of {self.temperature} is below 0"),
            (not math.isfinite(self.temperature), f"a temperature of {self.temperature} is not finite"),
            (self.top_k is not None and self.top_k < 1, f"top-k of {self.top_k} leaves no token"),
            (self.top_p is not None and not 0 < self.top_p <= 1, f"top-p of {self.top_p} is not a probability above 0"),
            (not isinstance(self.top_k, int | None), f"top-k of {self.top_k} is not a whole number"),
            (not isinstance(self.beam, int), f"a beam of {self.beam} is not a whole number"),
            (self.beam < 1, f"a beam of {self.beam} has no hypothesis"),
            (not math.isfinite(self.length_penalty), f"a length penalty of {self.length_penalty} is not finite"),
            (abs(self.length_penalty) > 10, f"a length penalty of {self.length_penalty} is not between -10 and 10"),
            (self.beam > 1 and self.temperature > 0, "beam search draws no tokens: it needs a temperature of 0"),
            (not self.temperature and (self.top_k or self.top_p), "top-k and top-p need a temperature above 0"),
        ):
            if wrong:
                raise ValueError(message)


def begin(model: Model, cache: Cache, prompts: Sequence[Tensor]) -> Tensor:
    """Add prompts to an empty cache and return the logits (B, V) of the next tokens; see :func:`checked`."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)  # (B,)
    # Padding on the right: no token attends to it, and set_lengths removes it from the cache.
    tokens = pad_sequence(list(prompts), batch_first=True)  # (B, T)
    features = model.extract_features(tokens, cache=cache)[0]  # (B, T, C)
    cache.set_lengths(lengths + (cache.length - tokens.size(1)))  # the model may have vectors before a prompt
    last = features[torch.arange(len(prompts), device=lengths.device), lengths - 1]  # (B, C)
    if cache.rows > len(prompts):
        cache.take(torch.arange(len(prompts), device=lengths.device))
    return checked(model.output_layer(last))


def advance(stepper: Stepper, cache: Cache, tokens: Sequence[int]) -> Tensor:
    """Append a token to each of the first R rows of a cache; return the :func:`checked` logits (R, V) after it."""
    repeated = len(cache.keys[0]) - len(tokens)  # rows at the end, see :attr:`.Cache.rows`
    step = torch.tensor([*tokens, *[tokens[0]] * repeated], device=cache.keys[0].device)[:, None]
    return checked(stepper.next_logits(step, cache)[: len(tokens)])


def checked(logits: Tensor) -> Tensor:
    """Return logits (R, V) in float32.

    Raises:
        ValueError: they are not finite, as when the model overflows in float16; every search would still return a text.
    """
    if not logits.amax(-1).isfinite().all():  # NaN if one of a row is; minus infinity excludes a token
        raise ValueError("the model's logits are not finite")
    return logits.float()


def keep_rows(cache: Cache, rows: Sequence[int], count: int) -> None:
    """Select rows of a cache of ``count`` rows, in this order; a row may be repeated."""
    if list(rows) != list(range(count)):
        cache.take(torch.tensor(rows, device=cache.keys[0].device))
