"""Score attention heads on named patterns: their attention on the keys of a pattern, beyond that of a uniform head.

A pattern selects the keys that a head of that kind attends to: see :mod:`.patterns`. The score of a head is the
mean, over the queries with such keys, of the attention on them minus their share of the visible keys: 0 for a uniform
head, near 1 for one that attends to nothing else, below 0 for one that avoids them. Queries for which the pattern
selects no visible key, or all of them, are excluded.

Shapes: B texts, T tokens of each, L layers, H heads, P patterns, N texts in all.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from fairseq import utils
from torch import Tensor
from tqdm import tqdm

from plugins.analysis.attention.capture import capture, encode, prompt_of, sees_both_ways
from plugins.analysis.attention.patterns import BOTH_WAYS, CAUSAL, REPEATED, Batch, Pattern
from plugins.analysis.language_model import LanguageModel
from plugins.analysis.metrics.bootstrap import StreamingBootstrap
from plugins.data.dictionaries import MASK, unused_words
from plugins.errors import UserError

UNIFORM = "uniform_head"


class NoText(UserError):
    """None of the texts has two tokens."""


def score_heads(
    lm: LanguageModel,
    texts: Iterable[str],
    *,
    length: int = 128,
    batch_size: int = 16,
    sequences: int = 50,
    resamples: int = 1000,
    seed: int = 0,
    bar: bool = False,
) -> dict[str, dict]:
    """Score every head of a language model on every pattern; memory does not grow with the number of texts.

    Args:
        lm: returned by ``plugins.hub.load``.
        texts: each is truncated to ``length`` tokens; texts of fewer than two are skipped.
        length: maximum number of tokens of a text and of a random sequence, within the limit of the model.
        batch_size: texts per forward pass, all of the same length, without padding.
        sequences: number of repeated random sequences for the induction score.
        resamples: number of bootstrap replicates, see :class:`StreamingBootstrap`.
        seed: random seed of the random sequences and of the bootstrap.
        bar: show a progress bar.

    Returns:
        {pattern: {``score``, ``low``, ``high``: (L, H), ``items``, ``texts``}}: low and high are the ends of a 95 %
        interval over texts, NaN for fewer than two; items and texts are the numbers of queries and texts with the
        pattern. Next token and delimiter are for masked LMs only.

    Raises:
        NoText: no text of two tokens.
        UserError: an unknown character, or a model with a tuned prompt.
    """
    check_without_prompt(lm)
    length = min(length, lm.model.max_positions())
    natural = BOTH_WAYS if sees_both_ways(lm.model) else CAUSAL
    texts = tqdm(texts, "texts", unit=" texts", leave=False, disable=not bar)
    encoded = (encode(lm, text, length) for text in texts if text)
    scores = StreamingBootstrap(resamples, seed)
    for ids in batches(encoded, batch_size):
        attention, batch = observe(lm, ids)
        parts = excess(attention, batch, natural), uniform_excess(attention, batch)
        scores.add(*(np.concatenate(pair, axis=1) for pair in zip(*parts, strict=True)))
    if not scores.count:
        raise NoText("no text of two tokens or more to score the heads on")
    on_repeats = StreamingBootstrap(resamples, seed)
    for ids in batches(repeated(lm, length, sequences, seed), batch_size):
        on_repeats.add(*excess(*observe(lm, ids), REPEATED))
    return named([*natural, UNIFORM], scores.result()) | (
        named(REPEATED, on_repeats.result()) if on_repeats.count else {}
    )


def check_without_prompt(lm: LanguageModel) -> None:
    """Raise an error for a model with a tuned prompt, whose patterns would describe the prompt too.

    Raises:
        UserError: it has one.
    """
    if prompt_of(lm.model) is not None:
        raise UserError("the patterns describe text only, but this model has a tuned prompt in front of it")


def named(names: Iterable[str], arrays: dict[str, np.ndarray]) -> dict[str, dict]:
    """Return {name: {key: its part of each array}}."""
    parts = {key: list(array) for key, array in arrays.items()}
    return {name: {key: parts[key][i] for key in parts} for i, name in enumerate(names)}


def observe(lm: LanguageModel, ids: Tensor) -> tuple[list[Tensor], Batch]:
    """Run texts (B, T) through a model; return the weights of each layer, (B, H, T, T), and the batch."""
    device = next(lm.model.parameters()).device
    with utils.model_eval(lm.model), torch.inference_mode(), capture(lm.model) as layers:
        lm.model(ids.to(device))
    return [weights.cpu() for weights in layers], Batch.of(lm, ids.cpu())


def batches(texts: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield texts (T,) of at least two tokens in batches (B, T) of equal length, B at most ``size``."""
    waiting: defaultdict[int, list[Tensor]] = defaultdict(list)  # by length, so at most length times size texts
    for ids in texts:
        if len(ids) < 2:
            continue
        alike = waiting[len(ids)]
        alike.append(ids)
        if len(alike) == size:
            yield torch.stack(waiting.pop(len(ids)))
    yield from map(torch.stack, waiting.values())


def repeated(lm: LanguageModel, length: int, count: int, seed: int) -> Iterator[Tensor]:
    """Yield sequences (T,) of distinct random tokens, repeated once, between ``<s>`` and ``</s>`` if there are.

    Args:
        lm: the language model; special tokens and fillers are not drawn.
        length: maximum T.
        count: number of sequences.
        seed: random seed.
    """
    dictionary = lm.dictionary
    never = {*range(dictionary.nspecial), dictionary.index(MASK), *unused_words(dictionary)}
    ordinary = torch.tensor([i for i in range(len(dictionary)) if i not in never])
    first, last = ([torch.tensor([i])] if dictionary.nspecial else [] for i in (dictionary.bos(), dictionary.eos()))
    half = min((length - len(first) - len(last)) // 2, len(ordinary))
    draws = torch.Generator().manual_seed(seed)
    if half < 2:
        return
    for _ in range(count):
        once = ordinary[torch.randperm(len(ordinary), generator=draws)[:half]]
        yield torch.cat([*first, once, once, *last])


def excess(attention: Sequence[Tensor], batch: Batch, patterns: dict[str, Pattern]) -> tuple[np.ndarray, np.ndarray]:
    """Return the attention on each pattern beyond that of a uniform head, summed over the queries.

    Args:
        attention: L tensors (B, H, T, T).
        batch: the texts.
        patterns: P functions that return the keys of each query, (B or 1, T, T).

    Returns:
        (B, P, L, H) sums over queries, and (B, P) numbers of queries.
    """
    visible, count = batch.visible(), len(batch.ids)
    keys = torch.stack([(pattern(batch) & visible).expand(count, -1, -1) for pattern in patterns.values()], 1)
    counted = keys.any(-1) & (keys != visible).any(-1)  # (B, P, T)
    keys = (keys & counted[..., None]).float()  # (B, P, T, T)
    expected = (keys.sum(-1) / visible.sum(-1)).sum(-1)  # (B, P)
    flat = keys.flatten(2).transpose(1, 2)  # (B, TT, P)
    mass = torch.stack([weights.flatten(2).to(flat) @ flat for weights in attention], 1)  # (B, L, H, P)
    beyond = mass.permute(0, 3, 1, 2) - expected[..., None, None]  # (B, P, L, H)
    return beyond.double().cpu().numpy(), counted.sum(-1).double().cpu().numpy()


def uniform_excess(attention: Sequence[Tensor], batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlap of attention with that of a uniform head, beyond that of a head on a single key.

    For a query with n visible keys it is sum_j min(a_j, 1/n) - 1/n, from 0 to 1 - 1/n.

    Args, returns: as in :func:`excess`, for one pattern.
    """
    uniform = 1 / batch.visible().sum(-1, keepdim=True)  # (T, 1)
    shared = torch.stack([(weights.minimum(uniform).sum(-1) - uniform[:, 0]).sum(-1) for weights in attention], 1)
    queries = np.full((len(batch.ids), 1), float((uniform < 1).sum()))
    return shared[:, None].double().cpu().numpy(), queries  # (B, 1, L, H), (B, 1)
