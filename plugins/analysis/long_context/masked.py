"""Losses of masked LMs in windows of one length. Shapes as in :mod:`.losses`, T = L - 2 tokens of text in a window."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.analysis.language_model import LanguageModel
from plugins.data.dictionaries import MASK

from .windows import TOKENS_AT_ONCE, WindowLosses, WindowSettings, means, starts_of

ENDS = 2  # special tokens around each window, <s> and </s>
NEAREST = 64  # visible tokens, whose distance describes the context of a masked one
EDGES = (33, 36, 40, 48, 64, 96)  # bin edges of this distance; 32 on either side at 15 % masking: about 38


def windows(lm: LanguageModel, tokens: Tensor, length: int, settings: WindowSettings) -> WindowLosses:
    """Return the losses in windows that do not overlap, by distance to the 64th nearest visible token.

    Args:
        lm: the model.
        tokens: (N,) the text.
        length: L.
        settings: windows, stride and masks.
    """
    longest, body = max(settings.lengths) - ENDS, length - ENDS
    passages = min(settings.windows, len(tokens) // longest)
    starts = starts_of(passages, longest, body)
    cut = torch.from_numpy(starts.ravel()).to(tokens.device)
    text, masks = tokens.unfold(0, body, 1)[cut], masks_of(tokens, settings).unfold(0, body, 1)[cut]  # (windows, T)
    losses = losses_of(lm, text, masks)  # (P,)
    on_cpu = masks.cpu().numpy()
    passage = (np.arange(len(text)) // starts.shape[1]).repeat(on_cpu.sum(1))  # (P,)
    bins = np.digitize(np.concatenate([nearest_visible(mask) for mask in on_cpu]), EDGES)
    sums, counts = (
        np.bincount(bins * passages + passage, weights, (len(EDGES) + 1) * passages).reshape(-1, passages)
        for weights in (losses, None)
    )  # (K, W)
    edges = list(zip([0, *EDGES], [*EDGES, None], strict=True))
    return WindowLosses(
        means(sums.sum(0), counts.sum(0)), "by_distance", edges, means(sums, counts), len(text) * length
    )


def sliding(lm: LanguageModel, tokens: Tensor, length: int, settings: WindowSettings) -> dict[str, np.ndarray]:
    """Return the losses of the same tokens at every length as ``sliding``, (W,): those masked in mid-window.

    Args:
        lm: the model.
        tokens: (N,) the text.
        length: L.
        settings: windows, stride and masks.
    """
    body, longest, stride = length - ENDS, max(settings.lengths), min(settings.stride, min(settings.lengths) - ENDS)
    centers = torch.linspace(longest // 2, len(tokens) - (longest + 1) // 2, settings.windows).long().unique()
    starts = (centers - body // 2).to(tokens.device)
    text, masks = tokens.unfold(0, body, 1)[starts], masks_of(tokens, settings).unfold(0, body, 1)[starts]  # (W, T)
    losses, rows, places = losses_of(lm, text, masks), *masks.nonzero(as_tuple=True)
    first = body // 2 - stride // 2
    chosen = ((places >= first) & (places < first + stride)).cpu().numpy()
    row, count = rows.cpu().numpy()[chosen], len(text)
    return {"sliding": means(np.bincount(row, losses[chosen], count), np.bincount(row, minlength=count))}


def masks_of(tokens: Tensor, settings: WindowSettings) -> Tensor:
    """Return which tokens (N,) are masked, the same at every length."""
    generator = torch.Generator().manual_seed(settings.seed)
    return (torch.rand(len(tokens), generator=generator) < settings.mask_prob).to(tokens.device)


def losses_of(lm: LanguageModel, text: Tensor, masks: Tensor) -> np.ndarray:
    """Return the losses (P,), in nats, of the P masked tokens of windows (B, T), each between ``<s>`` and ``</s>``."""
    dictionary = lm.dictionary
    given = text.masked_fill(masks, dictionary.index(MASK))
    given = F.pad(F.pad(given, (1, 0), value=dictionary.bos()), (0, 1), value=dictionary.eos())  # (B, T + 2)
    rows, found = max(1, TOKENS_AT_ONCE // given.size(1)), []
    for tokens, mask, wanted in zip(given.split(rows), masks.split(rows), text.split(rows), strict=True):
        logits, _ = lm.model(tokens, masked_tokens=F.pad(mask, (1, 1)))  # (P, V)
        found.append(F.cross_entropy(logits.float(), wanted[mask], reduction="none"))
    return torch.cat(found).double().cpu().numpy()


def nearest_visible(mask: np.ndarray) -> np.ndarray:
    """Return for each masked position of (T,) its distance to the 64th nearest visible one, (P,).

    If fewer are visible, it is the distance to the farthest.
    """
    visible = np.flatnonzero(~mask)
    if not len(visible):
        return np.full(int(mask.sum()), len(mask))
    count, places = min(NEAREST, len(visible)), np.flatnonzero(mask)
    # The nearest are consecutive: visible tokens j to j + count - 1 for the best j, (P, count + 1) candidates.
    first = np.searchsorted(visible, places)[:, None] - np.arange(count + 1)
    first = first.clip(0, len(visible) - count)
    left, right = np.abs(visible[first] - places[:, None]), np.abs(visible[first + count - 1] - places[:, None])
    return np.maximum(left, right).min(1)
