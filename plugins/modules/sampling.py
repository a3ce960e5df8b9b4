"""Sampling from a language model: how the next token is drawn, and the loop that draws one after the other.

Shapes: B sequences at once, T tokens, V kinds of tokens.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def keep_likeliest(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Return logits in which the tokens that shall not be drawn are at minus infinity.

    Args:
        logits: (B, V).
        top_k: keep the k likeliest (and what ties with the last of them); None or at least V for all.
        top_p: of these, keep the smallest set that has this probability (nucleus sampling, Holtzman et al., 2020,
            section 3.1); None or 1 for all. The likeliest token always stays.

    Returns:
        (B, V).
    """
    if top_k is not None and top_k < logits.size(-1):
        least = logits.topk(top_k).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(-1, descending=True)  # (B, V)
        probabilities = ordered.softmax(-1)
        dropped = probabilities.cumsum(-1) - probabilities >= top_p  # what stands before it is enough already
        dropped[:, 0] = False
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return logits


def divided(logits: Tensor, temperature: float) -> Tensor:
    """Return logits (B, V) divided by a temperature above 0, however small or large, less a constant of each row."""
    logits = logits.float()
    logits = logits - logits.amax(-1, keepdim=True)  # or a tiny temperature would make infinities of the likeliest
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
        temperature: divides the logits before anything else; 0, or next to nothing, takes the likeliest token.
        top_k, top_p: see :func:`keep_likeliest`.
        generator: the random numbers, on the device of the logits.

    Returns:
        (B, 1) int64.
    """
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    logits = keep_likeliest(divided(logits, temperature), top_k, top_p)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)


def pick(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return the token of each row that a number between 0 and 1 falls on, where tokens lie side by side.

    Each row has its own number, so what is drawn does not depend on the rows beside it.

    Args:
        logits: (B, V).
        uniform: (B,) float64, from 0 up to but not 1.

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
    cache=None,
) -> Iterator[Tensor]:
    """Yield the tokens that continue the prompts, one position at a time.

    The context of a token is the text before it, at most the last ``block_size`` tokens. Once the block is full, a
    cache cannot go on: every position in it would have to change. So the last ``block_size - refresh + 1`` tokens
    start a new one, which lasts for ``refresh`` tokens. With ``refresh=1`` each token is drawn from a whole block,
    at the price of encoding that block each time; with more, from between ``block_size - refresh + 1`` and
    ``block_size`` tokens, at a fraction of the price.

    Args:
        next_logits: from tokens (B, T) to the logits (B, V) of what follows. With a cache: of what follows the tokens
            that it holds and these, which the call adds to it.
        choose: from logits (B, V) to tokens (B, 1), such as :func:`draw`.
        prompt: (B, T) int64, T at least 1.
        length: how many tokens to yield.
        block_size: how many tokens the model takes at most.
        refresh: from 1 to ``block_size``, see above.
        cache: what ``next_logits`` appends to; it has a ``reset`` method. Without it the whole context is encoded
            for each token, and the tokens are the same but for rounding.

    Yields:
        (B,) int64, a view that stays valid.
    """
    end = prompt.size(1)
    start = held = max(0, end - block_size)  # the context is text[:, start:end]; the cache holds text[:, start:held]
    text = torch.empty(prompt.size(0), end + length, dtype=torch.long, device=prompt.device)  # (B, T + length)
    text[:, :end] = prompt
    if cache is not None:
        cache.reset()
    for _ in range(length):
        if end - start > block_size:
            start = held = end - (block_size - refresh + 1)
            if cache is not None:
                cache.reset()
        logits = next_logits(text[:, held:end])  # (B, V)
        if cache is not None:
            held = end
        text[:, end : end + 1] = choose(logits)
        yield text[:, end]
        end += 1
