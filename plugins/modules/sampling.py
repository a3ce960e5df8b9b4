"""Sampling from a language model: drawing the next token, and the loop over tokens.

Shapes: B sequences at once, T tokens, V tokens in the vocabulary.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .cache import Cache


def keep_likeliest(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Return logits with minus infinity at the tokens that are not to be drawn.

    Args:
        logits: (B, V).
        top_k: keep the k likeliest, and ties with the last of them; None or at least V keeps all.
        top_p: of these, keep the smallest set whose probability is at least ``top_p`` (nucleus sampling, Holtzman et
            al., 2020, section 3.1); None or 1 keeps all. The likeliest token is always kept.

    Returns:
        (B, V).
    """
    if top_k is not None and top_k < logits.size(-1):
        least = logits.topk(top_k).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(-1, descending=True)  # (B, V)
        probabilities = ordered.softmax(-1)
        dropped = probabilities.cumsum(-1) - probabilities >= top_p  # likelier tokens suffice
        dropped[:, 0] = False
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return logits


def divided(logits: Tensor, temperature: float) -> Tensor:
    """Return logits (B, V) divided by a positive temperature, up to a constant per row, in float32.

    The result is finite for any temperature, however small or large.
    """
    logits = logits.float()
    logits = logits - logits.amax(-1, keepdim=True)  # else a tiny temperature overflows
    info = torch.finfo(logits.dtype)
    return logits / min(max(temperature, info.tiny), info.max)


def draw(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the next token of each sequence.

    Args:
        logits: (B, V).
        temperature: divides the logits first; 0 takes the likeliest token.
        top_k, top_p: see :func:`keep_likeliest`.
        generator: source of random numbers, on the device of the logits.

    Returns:
        (B, 1) int64.
    """
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    logits = keep_likeliest(divided(logits, temperature), top_k, top_p)
    return draw_one(logits.softmax(-1), generator)


def draw_one(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return the token (B, 1) that ``torch.multinomial`` draws from probabilities (B, V), with fewer operations.

    The first of several exponential arrivals at rates p has the probability p.

    Raises:
        ValueError: a probability is NaN.
    """
    arrivals = torch.empty_like(probabilities).exponential_(1, generator=generator)
    rate, token = (probabilities / arrivals).max(-1, keepdim=True)
    if rate.sum().isnan():
        raise ValueError("probabilities are NaN: the model's logits are not finite")
    return token


def pick(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token for each row from a given uniform number, by the inverse of the cumulative distribution.

    Each row has its own number, so the result does not depend on other rows.

    Args:
        logits: (B, V).
        uniform: (B,) float64 in [0, 1).

    Returns:
        (B,) int64.
    """
    ends = logits.double().softmax(-1).cumsum(-1)  # (B, V)
    return (ends <= uniform[:, None] * ends[:, -1:]).sum(-1)


@torch.inference_mode()
def generate(
    next_logits: Callable[[Tensor], Tensor],
    choose: Callable[[Tensor], Tensor],
    prompt: Tensor,
    length: int,
    block_size: int,
    refresh: int = 1,
    cache: Cache | None = None,
) -> Iterator[Tensor]:
    """Yield the tokens that continue the prompts, one position at a time.

    The context of a token is the text before it, at most the last ``block_size`` tokens. When the block is full, a
    cache cannot be continued, since the position of every token in it changes. The last ``block_size - refresh + 1``
    tokens then start a new cache, which serves ``refresh`` tokens. With ``refresh=1`` each token has a full block as
    context, and the block is encoded for every token. With larger values the context has ``block_size - refresh + 1``
    to ``block_size`` tokens, at a fraction of the cost. A cache with a window slides instead: each layer attends to the
    last tokens of its window, and nothing is encoded twice.

    Args:
        next_logits: from tokens (B, T) to the logits (B, V) of the next token. With a cache, the tokens follow its
            contents and are added to it.
        choose: from logits (B, V) to tokens (B, 1), for example :func:`draw`.
        prompt: (B, T) int64, T at least 1.
        length: number of tokens to yield.
        block_size: the maximum number of tokens in the model's input.
        refresh: from 1 to ``block_size``, see above.
        cache: the cache of ``next_logits``, an object with a ``reset`` method. Without it the whole context is encoded
            for each token; the tokens are equal up to rounding.

    Yields:
        (B,) int64, a view that remains valid.
    """
    end = prompt.size(1)
    slides = cache is not None and cache.window is not None
    start = cached = (
        0 if slides else max(0, end - block_size)
    )  # context: text[:, start:end]; cached: text[:, start:cached]
    text = torch.empty(prompt.size(0), end + length, dtype=torch.long, device=prompt.device)  # (B, T + length)
    text[:, :end] = prompt
    if cache is not None:
        cache.reset()
    for _ in range(length):
        if end - start > block_size and not slides:
            start = cached = end - (block_size - refresh + 1)
            if cache is not None:
                cache.reset()
        logits = next_logits(text[:, cached:end])  # (B, V)
        if cache is not None:
            cached = end
        text[:, end : end + 1] = choose(logits)
        yield text[:, end]
        end += 1
