"""Losses of causal LMs in windows of one length. Shapes as in :mod:`.losses`, V symbols in the dictionary."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.analysis.language_model import LanguageModel
from plugins.modules.decoder import Decoder

from .windows import WindowLosses, WindowSettings, batches, starts_of

BINS = 16  # number of position bins in a window
LOGITS_AT_ONCE = 1 << 25  # numbers


def windows(lm: LanguageModel, tokens: Tensor, length: int, settings: WindowSettings) -> WindowLosses:
    """Return the losses in windows that do not overlap, by position in the window.

    Args:
        lm: the model.
        tokens: (N,) the text.
        length: L.
        settings: windows and stride.
    """
    longest = max(settings.lengths)
    starts = starts_of(min(settings.windows, (len(tokens) - 1) // longest), longest, length)  # (W, windows in each)
    cut = tokens.unfold(0, length + 1, 1)[torch.from_numpy(starts.ravel()).to(tokens.device)]
    losses = np.concatenate([losses_of(lm, part) for part in batches(cut)]).reshape(*starts.shape, length)
    edges = list(itertools.pairwise(np.unique(np.linspace(0, length, BINS + 1).astype(int)).tolist()))
    bins = np.stack([losses[..., a:b].mean((1, 2)) for a, b in edges])  # (K, W)
    return WindowLosses(losses.mean((1, 2)), "by_position", list(edges), bins, losses.size)


def sliding(lm: LanguageModel, tokens: Tensor, length: int, settings: WindowSettings) -> dict[str, np.ndarray]:
    """Return the losses of the same tokens at every length, (W,), the last ``stride`` of windows.

    ``sliding``: each window is encoded anew. ``cache``: a key-value cache slides over the text, so that in each layer
    a token attends to the last ``length`` tokens, and depends on earlier ones than these. The latter is left out for
    positions with which a cache cannot slide.

    Args:
        lm: the model.
        tokens: (N,) the text.
        length: L.
        settings: windows and stride.
    """
    found = {"sliding": last_losses(lm, tokens, length, settings)}
    decoder = next(part for part in lm.model.modules() if isinstance(part, Decoder))
    if not decoder.positions.embeds:
        decoder.window = length
        try:
            found["cache"] = last_losses(lm, tokens, max(settings.lengths), settings)
        finally:
            decoder.window = None
    return found


def last_losses(lm: LanguageModel, tokens: Tensor, length: int, settings: WindowSettings) -> np.ndarray:
    """Return the mean losses (W,) of the last ``stride`` predictions of windows of ``length`` tokens.

    Args:
        lm: the model.
        tokens: (N,) the text.
        length: L.
        settings: windows and stride.
    """
    longest, stride = max(settings.lengths), min(settings.stride, min(settings.lengths))
    ends = torch.linspace(longest + 1, len(tokens), settings.windows).long().unique()  # after the last prediction
    cut = torch.stack([tokens[end - length - 1 : end] for end in ends.tolist()])  # (W, L + 1)
    return np.concatenate([losses_of(lm, part, stride).mean(1) for part in batches(cut)])


def losses_of(lm: LanguageModel, windows: Tensor, last: int | None = None) -> np.ndarray:
    """Return the loss, in nats, of each prediction in windows (B, L + 1), or of the last ones: (B, L or ``last``)."""
    last = windows.size(1) - 1 if last is None else last
    features = lm.model.extract_features(windows[:, :-1])[0][:, -last:].flatten(0, 1)  # (B * last, C)
    target = windows[:, -last:].flatten()
    rows = max(1, LOGITS_AT_ONCE // len(lm.dictionary))
    parts = [
        F.cross_entropy(lm.model.output_layer(part).float(), wanted, reduction="none")
        for part, wanted in zip(features.split(rows), target.split(rows), strict=True)
    ]
    return torch.cat(parts).view(-1, last).double().cpu().numpy()
