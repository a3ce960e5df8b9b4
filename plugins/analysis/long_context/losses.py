"""Loss by length of the input and by position in it, for causal and masked language models (Press et al., 2022).

Windows that do not overlap measure the loss on inputs of L tokens, but mix two effects: longer inputs have
a smaller share of early tokens, which have little context, and models may fail on positions they were not trained on.
Sliding windows predict the same tokens at every length, each with L tokens of context, and show only the second effect
(appendix B of the paper, "the early token curse").

Shapes: N tokens of a text, W windows, L tokens in a window, P predictions.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.analysis.language_model import LanguageModel
from plugins.analysis.metrics.means import standard_error
from plugins.data.dictionaries import MASK
from plugins.errors import UserError
from plugins.modules.decoder import Decoder
from plugins.modules.positions import Positions
from plugins.modules.scaling import Scaling

from .memory import peak_megabytes, reset_peak

TOKENS_AT_ONCE = 1 << 14
BINS = 16  # of positions in a window
NEAREST = 64  # visible tokens, whose distance describes the context of a masked one
EDGES = (33, 36, 40, 48, 64, 96)  # of the bins of that distance; 32 on either side and 15 % masked make about 38


@dataclass(frozen=True)
class Settings:
    """Settings of the evaluation.

    Attributes:
        lengths: L of each evaluation, in tokens, ascending.
        windows: W, at most, of each length.
        stride: predictions of each sliding window.
        mask_prob: share of masked tokens, for masked LMs.
        seed: of the masks.
    """

    lengths: tuple[int, ...]
    windows: int = 32
    stride: int = 32
    mask_prob: float = 0.15
    seed: int = 1


def scheme_of(lm: LanguageModel) -> Positions:
    """Return the positional scheme of a model.

    Raises:
        UserError: it has no scheme of this package.
    """
    found = next((part for part in lm.model.modules() if isinstance(part, Positions)), None)
    if found is None:
        raise UserError(f"{type(lm.model).__name__} has no positions of this package, whose length could be changed")
    return found


def trained_length(lm: LanguageModel) -> int:
    """Return the length that a model was trained on, in tokens."""
    options = lm.options
    return int(options.get("trained_length") or options.get("block_size") or options.get("max_positions"))


def evaluate(lm: LanguageModel, tokens: Tensor, settings: Settings, scaling: str = "none") -> list[dict]:
    """Measure the loss at each length.

    Args:
        lm: returned by ``plugins.hub.load``.
        tokens: (N,) the text, without special tokens.
        settings: of the evaluation.
        scaling: of positions, by as much as each input is longer than the trained length.

    Returns:
        For each length a dict: ``length``, ``times`` the trained one, ``windows``, ``sliding`` and, for causal models
        with which it works, ``cache`` (mean, standard error over windows, n), ``by_position`` (causal) or
        ``by_distance`` (masked), ``tokens_per_second``, ``peak_mb``; or ``length``, ``times`` and ``limit`` where the
        model's position table is shorter.

    Raises:
        UserError: the text is shorter than the longest length, or the scheme does not support the scaling.
    """
    if len(tokens) <= max(settings.lengths):
        raise UserError(f"the text has {len(tokens)} tokens: --lengths up to {max(settings.lengths)} need more")
    scheme, trained = scheme_of(lm), trained_length(lm)
    before, found = scheme.scaling, []
    measure = masked if lm.fills_masks else causal
    training = lm.model.training
    lm.model.eval()
    try:
        for length in settings.lengths:
            about = {"length": length, "times": length / trained}
            if scheme.limit is not None and length > scheme.limit:
                found.append({**about, "limit": scheme.limit})
                continue
            if scaling != "none":
                scheme.rescale(Scaling(scaling, max(1.0, length / trained), trained))
            with torch.inference_mode():
                found.append(about | measure(lm, tokens, length, settings))
    except ValueError as error:
        raise UserError(f"--scaling {scaling}: {error}") from error
    finally:
        scheme.rescale(before)
        lm.model.train(training)
    return found


def summary(losses: np.ndarray) -> dict:
    """Return mean, standard error and number of losses (W,) of windows."""
    return {"mean": float(losses.mean()), "standard_error": standard_error(losses), "n": len(losses)}


def batches(windows: Tensor) -> Iterator[Tensor]:
    """Split windows (W, L) into batches of about ``TOKENS_AT_ONCE`` tokens."""
    return iter(windows.split(max(1, TOKENS_AT_ONCE // windows.size(1))))


# Causal


def causal(lm: LanguageModel, tokens: Tensor, length: int, settings: Settings) -> dict:
    """Measure a causal LM at one length; see :func:`evaluate`."""
    count = min(settings.windows, (len(tokens) - 1) // length)
    reset_peak(tokens.device)
    start = time.perf_counter()
    losses = np.concatenate([causal_losses(lm, part) for part in batches(tokens[: count * length + 1]
                             .unfold(0, length + 1, length))])  # (W, L)  # fmt: skip
    seconds, peak = time.perf_counter() - start, peak_megabytes(tokens.device)
    edges = np.unique(np.linspace(0, length, BINS + 1).astype(int))
    return {
        "windows": summary(losses.mean(1)),
        "by_position": [
            {"from": int(a), "to": int(b), **summary(losses[:, a:b].mean(1))} for a, b in itertools.pairwise(edges)
        ],
        "sliding": summary(sliding(lm, tokens, length, settings)),
        **sliding_cache(lm, tokens, length, settings),
        "tokens_per_second": losses.size / seconds,
        "peak_mb": peak,
    }


def causal_losses(lm: LanguageModel, windows: Tensor, last: int | None = None) -> np.ndarray:
    """Return the loss, in nats, of each prediction in windows (B, L + 1), or of the last ones: (B, L or ``last``)."""
    features = lm.model.extract_features(windows[:, :-1])[0]  # (B, L, C)
    features, target = (features, windows[:, 1:]) if last is None else (features[:, -last:], windows[:, -last:])
    logits = lm.model.output_layer(features).float()
    return F.cross_entropy(logits.transpose(1, 2), target, reduction="none").double().cpu().numpy()


def sliding(lm: LanguageModel, tokens: Tensor, length: int, settings: Settings) -> np.ndarray:
    """Return the mean losses (W,) of the last ``stride`` predictions of windows, the same tokens at every length."""
    longest, stride = max(settings.lengths), min(settings.stride, min(settings.lengths))
    ends = torch.linspace(longest + 1, len(tokens), settings.windows).long().unique()  # after the last prediction
    windows = torch.stack([tokens[end - length - 1 : end] for end in ends.tolist()])  # (W, L + 1)
    return np.concatenate([causal_losses(lm, part, stride).mean(1) for part in batches(windows)])


def sliding_cache(lm: LanguageModel, tokens: Tensor, length: int, settings: Settings) -> dict:
    """Return the loss of the same tokens as :func:`sliding` with a cache that slides over the text, as ``cache``.

    In each layer a token attends to the last ``length`` tokens, so that a token depends on earlier ones than these. The
    result is empty for positions with which a cache cannot slide.
    """
    decoder = next(part for part in lm.model.modules() if isinstance(part, Decoder))
    if decoder.positions.embeds:
        return {}
    decoder.window = length
    try:
        return {"cache": summary(sliding(lm, tokens, max(settings.lengths), settings))}
    finally:
        decoder.window = None


# Masked


def masked(lm: LanguageModel, tokens: Tensor, length: int, settings: Settings) -> dict:
    """Measure a masked LM at one length; see :func:`evaluate`. The same tokens are masked at every length."""
    body = length - 2  # between <s> and </s>
    count = min(settings.windows, len(tokens) // body)
    generator = torch.Generator().manual_seed(settings.seed)
    masks = (torch.rand(len(tokens), generator=generator) < settings.mask_prob).to(tokens.device)
    reset_peak(tokens.device)
    start = time.perf_counter()
    losses, distances = [], []
    windows = zip(tokens.unfold(0, body, body)[:count], masks.unfold(0, body, body)[:count], strict=True)
    for window, mask in windows:
        losses.append(masked_losses(lm, window, mask))
        distances.append(nearest_visible(mask.cpu().numpy()))
    seconds, peak = time.perf_counter() - start, peak_megabytes(tokens.device)
    values, distances = np.concatenate(losses), np.concatenate(distances)
    bins = np.digitize(distances, EDGES)
    by_distance = [
        {
            "from": 0 if i == 0 else EDGES[i - 1],
            "to": EDGES[i] if i < len(EDGES) else None,
            **summary(values[bins == i]),
        }
        for i in np.unique(bins)
    ]
    return {
        "windows": summary(np.array([window.mean() for window in losses if len(window)])),
        "sliding": summary(masked_sliding(lm, tokens, masks, length, settings)),
        "by_distance": by_distance,
        "tokens_per_second": count * length / seconds,
        "peak_mb": peak,
    }


def masked_losses(lm: LanguageModel, window: Tensor, mask: Tensor) -> np.ndarray:
    """Return the losses (P,), in nats, of the P masked tokens of a window (T,), put between ``<s>`` and ``</s>``."""
    dictionary = lm.dictionary
    ends = window.new_tensor([dictionary.bos(), dictionary.eos()])
    given = window.masked_fill(mask, dictionary.index(MASK))
    tokens = torch.cat([ends[:1], given, ends[1:]])[None]  # (1, T + 2)
    at = F.pad(mask, (1, 1))[None]
    logits, _ = lm.model(tokens, masked_tokens=at)  # (P, V)
    return F.cross_entropy(logits.float(), window[mask], reduction="none").double().cpu().numpy()


def masked_sliding(lm: LanguageModel, tokens: Tensor, masks: Tensor, length: int, settings: Settings) -> np.ndarray:
    """Return the mean losses (W,) of the masked tokens in the middle of windows, the same ones at every length."""
    longest, stride = max(settings.lengths), min(settings.stride, min(settings.lengths) - 2)
    centers = torch.linspace(longest // 2, len(tokens) - (longest + 1) // 2, settings.windows).long().unique()
    found = []
    for center in centers.tolist():
        start = center - (length - 2) // 2
        window, mask = tokens[start : start + length - 2], masks[start : start + length - 2]
        middle = torch.zeros_like(mask)
        middle[center - start - stride // 2 : center - start + (stride + 1) // 2] = True
        if (mask & middle).any():
            found.append(masked_losses(lm, window, mask)[middle[mask].cpu().numpy()].mean())
    return np.array(found)


def nearest_visible(mask: np.ndarray) -> np.ndarray:
    """Return for each masked position of (T,) its distance to the 64th nearest visible one, (P,).

    If fewer are visible, it is the distance to the farthest.
    """
    visible = np.flatnonzero(~mask)
    if not len(visible):
        return np.full(int(mask.sum()), len(mask))
    count = min(NEAREST, len(visible))
    places = np.flatnonzero(mask)
    right = np.searchsorted(visible, places)
    low = np.clip(right - count, 0, len(visible) - count)
    distances = np.empty(len(places), dtype=int)
    for i, place in enumerate(places):  # the nearest are consecutive: those from j on, for the best j
        starts = np.arange(low[i], min(right[i], len(visible) - count) + 1)
        reach = np.maximum(np.abs(visible[starts] - place), np.abs(visible[starts + count - 1] - place))
        distances[i] = reach.min()
    return distances
