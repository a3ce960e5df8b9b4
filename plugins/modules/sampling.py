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


def divided(logits: Tensor, temperature: float | Tensor) -> Tensor:
    """Return logits (B, V) divided by a positive temperature, up to a constant per row, in float32.

    The result is finite for any temperature, however small or large. A tensor is :func:`within_float32`.
    """
    logits = logits.float()
    logits = logits - logits.amax(-1, keepdim=True)  # else a tiny temperature overflows
    return logits / (temperature if isinstance(temperature, Tensor) else within_float32(temperature))


def within_float32(temperature: float) -> float:
    """Return the nearest normal number of float32, which is positive."""
    info = torch.finfo(torch.float32)
    return min(max(temperature, info.tiny), info.max)


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
    return first(*race(logits, new_arrivals(logits, generator)))


class Race:
    """:func:`draw` without limits, as an object whose random numbers exist before the logits, for a compiled step.

    Args:
        temperature: above 0.
        generator: source of random numbers, used by nothing else.

    Attributes:
        arrivals: (B, V), of the next draw; None before the first.
        temperature: a tensor without dimensions.
        result: of :func:`race`, if it was computed with the logits.
    """

    def __init__(self, temperature: float, generator: torch.Generator | None):
        self.temperature, self.generator = torch.tensor(within_float32(temperature)), generator
        self.arrivals: Tensor | None = None
        self.result: tuple[Tensor, Tensor] | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the next token of each sequence, (B, 1), from logits (B, V)."""
        if self.result is None:
            arrivals = new_arrivals(logits, self.generator) if self.arrivals is None else self.arrivals
            self.result = race(divided(logits, self.temperature), arrivals)
        token = first(*self.result)
        self.arrivals, self.result = new_arrivals(logits, self.generator), None
        return token


def new_arrivals(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a random number for each of the logits (B, V), from the exponential distribution with rate 1."""
    return torch.empty_like(logits, dtype=torch.float32).exponential_(1, generator=generator)


def race(logits: Tensor, arrivals: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a token for each row as ``torch.multinomial`` does, from the same random numbers, with fewer operations.

    The first of several exponential arrivals at rates p is that of a token with the probability p.

    Args:
        logits: (B, V) float32.
        arrivals: (B, V), see :func:`new_arrivals`.

    Returns:
        The largest ratio of a probability and an arrival, (B, 1), which is NaN if a logit is, and its token, (B, 1).
    """
    ratio, token = (logits.softmax(-1) / arrivals).max(-1, keepdim=True)
    return ratio, token


def first(ratio: Tensor, token: Tensor) -> Tensor:
    """Return the token (B, 1) of :func:`race`.

    Raises:
        ValueError: a probability is NaN.
    """
    if ratio.sum().isnan():
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
