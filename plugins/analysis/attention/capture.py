"""Capture the attention weights of every layer and head of a model without changing its output.

Shapes: B sequences, H heads of D channels, T queries, S keys: the T of this call, and before them those in a cache.
"""

import contextlib
import math
from collections.abc import Iterator

import torch
from fairseq import utils
from torch import Tensor, nn

from plugins import compat
from plugins.analysis.language_model import LanguageModel
from plugins.errors import UserError
from plugins.modules.attention import Attention, SelfAttention
from plugins.modules.soft_prompt import SoftPrompt

MOST_WEIGHTS = 1 << 29  # maximum number of weights of all heads: 2 GB


@contextlib.contextmanager
def capture(model: nn.Module) -> Iterator[list[Tensor]]:
    """Record the attention weights of each forward pass of a model, or of a part of it, inside a ``with`` block.

        with capture(model) as attention:
            model(tokens)
        attention[layer][sequence, head, query, key]

    The output of the model does not change: each layer runs its kernel, and derives the weights from the queries, keys
    and bias of the same pass. They are the softmax of the scores, bias and padding included, before dropout, of all
    T queries even where a layer computes only some rows. Rows sum to 1, and their product with the values is what the
    kernel returned. A compiled model runs uncompiled inside the block.

    Yields:
        A list that contains, after each forward pass, one (B, H, T, S) tensor for each layer that ran: on the model's
        device, detached, in float32 at least. The next pass replaces them; those of the last one stay when the block
        is left, and so do all that were copied from the list.

    Raises:
        UserError: the model has no attention layer of this package.
    """
    layers = [part for part in model.modules() if isinstance(part, Attention)]
    if not layers:
        raise UserError(f"{type(model).__name__} has no attention layer whose weights could be captured")
    order: dict[nn.Module, int] = {layer: i for i, layer in enumerate(layers)}
    record: list[Tensor] = []
    place = -1

    def take(layer: nn.Module, weights: Tensor) -> None:
        nonlocal place
        before, place = place, order[layer]
        if place <= before:  # a new pass
            record.clear()
        record.append(weights)

    with compat.uncompiled(model):
        try:
            for layer in layers:
                layer.record = take
            yield record
        finally:
            for layer in layers:
                layer.record = None


def attention_of(lm: LanguageModel, text: str) -> tuple[list[str], list[Tensor]]:
    """Return the attention of every head of a language model on a text, in the format of bertviz's ``head_view``.

    Args:
        lm: returned by ``plugins.hub.load``.
        text: for a masked LM it may contain ``<mask>``.

    Returns:
        The T tokens, see :meth:`.LanguageModel.tokens`, and for each layer the weights, (1, H, T, T) float32 on the
        CPU. The vectors of a tuned prompt count as tokens and are called ``[1]``, ``[2]``, ...

    Raises:
        UserError: the text is empty, too long for the model or for memory, or contains an unknown character.
    """
    ids = encode(lm, text)
    heads = sum(part.num_heads for part in lm.model.modules() if isinstance(part, Attention))
    if heads * len(ids) ** 2 > MOST_WEIGHTS:
        most = math.isqrt(MOST_WEIGHTS // heads)
        raise UserError(f"{len(ids)} tokens: the weights of {heads} heads need a text of {most} at most")
    with utils.model_eval(lm.model), torch.no_grad(), capture(lm.model) as layers:
        lm.model(ids[None].to(next(lm.model.parameters()).device))
    tokens, prompt = lm.tokens(ids), prompt_of(lm.model)
    if prompt is not None:
        tokens[prompt.at : prompt.at] = [f"[{i}]" for i in range(1, len(prompt) + 1)]
    return tokens, [weights.float().cpu() for weights in layers]


def encode(lm: LanguageModel, text: str, most: int | None = None) -> Tensor:
    """Return the ids (T,) of a text; those of a masked LM begin with ``<s>`` and end with ``</s>``.

    Args:
        lm, text: as in :func:`attention_of`.
        most: maximum number of tokens; a longer text is truncated, except for the final ``</s>`` of a masked LM.

    Raises:
        UserError: as in :func:`attention_of`.
    """
    ids = lm.encode(text)
    if most is not None and len(ids) > most:
        end = ids[-1:] if lm.dictionary.nspecial else ids[:0]
        ids = torch.cat([ids[: most - len(end)], end])
    if not len(ids):
        raise UserError("the text is empty")
    if len(ids) > lm.model.max_positions():
        raise UserError(f"{len(ids)} tokens, but the model takes {lm.model.max_positions()} at most: {text[:40]!r}...")
    return ids


def prompt_of(model: nn.Module) -> SoftPrompt | None:
    """Return the tuned prompt of a model, or None."""
    return next((part for part in model.modules() if isinstance(part, SoftPrompt)), None)


def sees_both_ways(model: nn.Module) -> bool:
    """Return whether tokens attend to later tokens, as in a masked LM."""
    return any(isinstance(part, SelfAttention) for part in model.modules())
