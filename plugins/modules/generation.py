"""Text generation up to an end token: greedy, sampled, or by beam search.

Prompts of different lengths are continued as a batch over one key-value cache (:class:`.cache.Cache`), with the same
result as one by one. A model has three methods:

    new_cache(batch)                          -> a cache
    extract_features(tokens, cache=cache)     -> features (B, T, C) of tokens (B, T) that follow the cache's, and more
    output_layer(features)                    -> logits (..., V)

Shapes: B prompts, R unfinished texts, T tokens, V tokens in the vocabulary.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from . import sampling
from .beam_search import BeamSearch
from .cache import Cache
from .constraints import Constraints
from .decoding import Stepper
from .search import Model, Search, advance, begin, keep_rows

__all__ = ["BeamSearch", "Model", "Search", "choose", "draw_texts", "generate"]


@torch.inference_mode()
def generate(
    model: Model | Stepper,
    prompts: Sequence[Tensor],
    constraints: Constraints,
    search: Search,
    names: Sequence | None = None,
    compiled: bool | None = None,
) -> list[list[int]]:
    """Continue prompts.

    Args:
        model: see the module's docstring; or a :class:`.Stepper` of it, which compiles the steps.
        prompts: B tensors (T,) int64, T at least 1, on the model's device.
        constraints: which sequences may be generated.
        search: the search method.
        names: B names of the prompts, which seed their random numbers (default: their indices). The continuation of a
            prompt depends on its name, not on the other prompts.
        compiled: see :meth:`.Stepper.prepare`.

    Returns:
        B lists of tokens, without the prompt and the end token.
    """
    if not prompts:
        return []
    stepper = model if isinstance(model, Stepper) else Stepper(model)
    cache = stepper.model.new_cache(len(prompts))
    if model is stepper:
        stepper.prepare(cache, len(prompts) * search.beam, constraints.max_length, compiled)
    if search.beam > 1:
        return BeamSearch(stepper, cache, prompts, constraints, search).run()
    return draw_texts(stepper, cache, prompts, constraints, search, range(len(prompts)) if names is None else names)


def draw_texts(
    stepper: Stepper,
    cache: Cache,
    prompts: Sequence[Tensor],
    constraints: Constraints,
    search: Search,
    names: Sequence,
) -> list[list[int]]:
    """Continue each prompt token by token until it ends, with an empty cache; see :func:`generate`."""
    texts: list[list[int]] = [[] for _ in prompts]
    numbers = [random.Random(f"{search.seed} {name}") for name in names]
    logits = begin(stepper.model, cache, prompts)
    rows = list(range(len(prompts)))  # prompts whose texts have not ended, in the order of the cache
    while rows:
        current = [texts[row] for row in rows]
        logits = constraints.mask(constraints.invite(logits, current), current)
        new = choose(logits, search, [numbers[row] for row in rows])
        again = range(len(rows))
        while again := [i for i in again if constraints.strike(logits[i], current[i], [new[i]])]:
            for i, token in zip(again, choose(logits[again], search, [numbers[rows[i]] for i in again]), strict=True):
                new[i] = token
        alive = []
        for i, (row, token) in enumerate(zip(rows, new, strict=True)):
            if token == constraints.end:
                continue
            texts[row].append(token)
            if len(texts[row]) < constraints.max_length:
                alive.append(i)
        if alive:
            keep_rows(cache, alive, len(rows))
            logits = advance(stepper, cache, [new[i] for i in alive])
        rows = [rows[i] for i in alive]
    return texts


def choose(logits: Tensor, search: Search, numbers: Sequence[random.Random]) -> list[int]:
    """Return the next token of each row of logits (R, V)."""
    if search.temperature == 0:
        return logits.max(-1).indices.tolist()  # faster than argmax
    logits = sampling.keep_likeliest(sampling.divided(logits, search.temperature), search.top_k, search.top_p)
    uniform = torch.tensor([each.random() for each in numbers], dtype=torch.float64, device=logits.device)
    return sampling.pick(logits, uniform).tolist()
