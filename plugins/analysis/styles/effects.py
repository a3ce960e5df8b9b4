"""What the styles of a character LM are and do, as arrays: where they lie, which one a text has, and what each changes.

``lm`` is a :class:`plugins.hub.CharLM` whose model has styles.

Shapes: T characters, C channels, H heads, K styles, L layers, M modulated layers, N windows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from plugins.analysis.attention.capture import capture
from plugins.analysis.metrics.means import mean_and_error
from plugins.analysis.styles import evaluation
from plugins.errors import UserError
from plugins.modules.published_style import PublishedStyle

MIN_FOR_TSNE = 30
"""Fewer points have no neighbourhoods that t-SNE could keep, and are drawn by PCA."""
INFERRED, NO_STYLE = "(inferred)", "(none)"
"""Beside the names of the styles, what can be forced on a model or left to it."""


def adapter_of(lm):
    """Return the style adapter of a model.

    Raises:
        UserError: it has none.
    """
    lm.check_styles()
    return lm.model.decoder.style


# Where styles and texts lie


@dataclass(frozen=True)
class Plane:
    """Vectors laid out in two dimensions.

    Attributes:
        points: (N, 2).
        method: ``PCA`` or ``t-SNE``.
        shares: of the variance, that the two axes hold; empty for t-SNE, whose axes mean nothing.
    """

    points: np.ndarray
    method: str
    shares: tuple[float, ...] = ()


def embeddings(lm) -> np.ndarray:
    """Return the embedding of each style, (K, D)."""
    return adapter_of(lm).style_embeddings.detach().float().cpu().numpy()


def flatten(vectors: np.ndarray, seed: int = 1) -> Plane:
    """Lay vectors (N, D) out in two dimensions: by t-SNE (van der Maaten and Hinton, 2008), or few ones by PCA.

    t-SNE keeps neighbourhoods. A handful of points has none: its picture would be the random start, so fewer than
    :data:`MIN_FOR_TSNE` are projected on the two directions in which they differ most.
    """
    if len(vectors) >= MIN_FOR_TSNE:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(vectors) - 1) / 3)
        points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(np.float32(vectors))
        return Plane(points, "t-SNE")
    centred = np.float64(vectors) - vectors.mean(0, dtype=float)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(vectors), 2))
    kept = min(2, len(values))
    points[:, :kept] = left[:, :kept] * values[:kept]
    total = (values**2).sum()
    return Plane(points, "PCA", tuple((values[:kept] ** 2 / total).tolist()) if total else (0.0,) * kept)


@torch.inference_mode()
def summaries(lm, windows: torch.Tensor) -> np.ndarray:
    """Return what the style classifier reads at the end of each window, (N, R), of :func:`windows_of`.

    Raises:
        UserError: the model infers no style from a text.
    """
    classifier = classifier_of(lm)
    if classifier is None:
        raise infers_nothing(lm)
    read = []  # once a pass, or in the published form once a modulated layer
    hook = classifier.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    rows = []
    try:
        for part in windows[:, : lm.block_size].split(64):
            read.clear()
            lm.model(part)
            rows.append(read[-1] if read[-1].ndim == 2 else read[-1][:, -1])  # (64, R)
    finally:
        hook.remove()
    return torch.cat(rows).float().cpu().numpy()


def classifier_of(lm) -> torch.nn.Module | None:
    """Return what tells a text's style, or None where the model infers none (``--style-inference given``, ...)."""
    adapter = adapter_of(lm)
    return adapter.style_classifier if isinstance(adapter, PublishedStyle) else adapter.classifier


def infers_nothing(lm) -> UserError:
    return UserError(f"--style-inference {lm.model.cfg.style_inference} infers no style from a text")


# Which style a text has


@torch.inference_mode()
def probabilities(lm, text: str, refresh: int | None = None) -> np.ndarray:
    """Return how probable the model holds each style after each character of a text, (T, K).

    Past the end of the block the window slides, as in sampling, so a text may have any length.

    Args:
        lm: see the module.
        text: at least one character. Of a byte model too, a row stands for a whole character.
        refresh: how many characters a window is behind the next one; each but the first window counts for its last
            ``refresh`` characters. As in :meth:`plugins.hub.CharLM.sample` by default.

    Raises:
        UserError: the model infers no style, the text is empty, or holds a character that the model does not know.
    """
    adapter_of(lm)
    tokens = lm.encode_some(text, 1)  # (T,) characters, or bytes
    refresh = lm.default_refresh if refresh is None else refresh
    lm.check_refresh(refresh)
    size, done, rows = min(lm.block_size, len(tokens)), 0, []
    for end in [*range(size, len(tokens), refresh), len(tokens)]:
        inferred = style_probabilities(lm, tokens[None, end - size : end])[0]  # (size, K)
        rows.append(inferred[size - (end - done) :])
        done = end
    rows = torch.cat(rows).cpu().numpy()
    if lm.dictionary.unit == "byte":  # what a character's last byte says
        rows = rows[np.cumsum([len(character.encode()) for character in text]) - 1]
    return rows


def style_probabilities(lm, tokens: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (B, T, K) of the styles after each of the tokens (B, T), given those before it alone."""
    if lm.sees_the_future:  # it judges the end of what it is given
        ends = range(1, tokens.size(1) + 1)
        logits = torch.cat([lm.model(tokens[:, :end])[1]["style_logits"] for end in ends], dim=1)
    else:
        logits = lm.model(tokens)[1]["style_logits"]
    if logits is None:
        raise infers_nothing(lm)
    return logits.float().softmax(-1)


def windows_of(lm, text: str, count: int) -> torch.Tensor:
    """Return up to ``count`` windows of a text as tokens (N, block + 1), evenly spread.

    Raises:
        UserError: the text is no longer than the block, or holds a character that the model does not know.
    """
    size = lm.block_size + 1
    tokens = lm.encode_some(text, size)
    rows = tokens[: len(tokens) // size * size].view(-1, size)
    return rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()]


# What each style changes


@dataclass(frozen=True)
class Modulation:
    """What hidden states x are changed to after each modulated layer where a style is certain: x * gain + shift.

    Attributes:
        layers: the M layers, from 0.
        gain: (M, K, C), 1 for no change.
        shift: (M, K, C), 0 for no change, as always in the published form.
    """

    layers: tuple[int, ...]
    gain: np.ndarray
    shift: np.ndarray

    def strength(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the root mean squares over the channels of gain - 1 and of shift, both (M, K)."""
        return tuple(np.sqrt((part**2).mean(-1)) for part in (self.gain - 1, self.shift))


@torch.inference_mode()
def modulation(lm) -> Modulation:
    """Return the modulation vectors of every style."""
    adapter = adapter_of(lm)
    if isinstance(adapter, PublishedStyle):
        vectors = adapter.style_proj(adapter.style_embeddings)  # (K, C)
        gain = torch.stack([adapter.style_adapters[i]["linear"](vectors) for i in range(len(adapter.layers))])
        shift = torch.zeros_like(gain)
    else:
        tables = adapter.tables()
        rows = torch.stack([tables[layer] for layer in adapter.layers])  # (M, K, 2C)
        gain, shift = rows.chunk(2, dim=-1)
        gain = 1 + gain
    return Modulation(tuple(adapter.layers), gain.float().cpu().numpy(), shift.float().cpu().numpy())


@torch.inference_mode()
def attention_under_styles(lm, tokens: torch.Tensor) -> np.ndarray:
    """Return the attention weights (K, L, H, T, T) of tokens (T,) when each style is forced on them in turn."""
    adapter_of(lm)
    styles = torch.eye(lm.model.num_styles, device=lm.device)
    with capture(lm.model) as layers:
        lm.model(tokens.expand(len(styles), -1), styles=styles)
        return torch.stack(list(layers), dim=1).float().cpu().numpy()  # L of (K, H, T, T)


def attention_differences(lm, windows: torch.Tensor) -> np.ndarray:
    """Return how much of each head's attention moves when each style is forced on each window, (N, K, L, H).

    It is the total variation between a query's attention under the style and its mean over all styles, averaged over
    the queries: 0 where the style makes no difference, 0.3 where it moves three tenths of the attention elsewhere.
    """
    rows = []
    for tokens in windows[:, : lm.block_size]:
        weights = attention_under_styles(lm, tokens)
        moved = np.abs(weights - weights.mean(0)).sum(-1) / 2  # (K, L, H, T)
        rows.append(moved.mean(-1))
    return np.stack(rows)


def forced_perplexity(lm, windows: Mapping[str, torch.Tensor]) -> dict[str, dict[str, dict]]:
    """Return the perplexity of texts when each style is forced on the model, when it infers one, and with none.

    Args:
        lm: see the module.
        windows: those of each text, of :func:`windows_of`, by its name.

    Returns:
        {text: {style, :data:`INFERRED` or :data:`NO_STYLE`: ``mean`` and ``standard_error`` over windows, ``n``}}.
        Every prediction is from the characters before it alone, in the published form too.
    """
    adapter_of(lm)
    forced = dict(zip(lm.styles, torch.eye(len(lm.styles), device=lm.device), strict=True))
    forced[NO_STYLE] = torch.zeros(len(lm.styles), device=lm.device)
    result = {}
    for name, rows in windows.items():
        nats = {style: mean_and_error(evaluation.nats(lm.model, rows, weights).mean(1).tolist())
                for style, weights in forced.items()}  # fmt: skip
        nats[INFERRED] = evaluation.honest_loss(lm.model, rows)["honest"] if lm.sees_the_future else (
            mean_and_error(evaluation.nats(lm.model, rows).mean(1).tolist()))  # fmt: skip
        result[name] = {style: as_perplexity(loss) for style, loss in nats.items()}
    return result


def as_perplexity(loss: Mapping) -> dict:
    """Return the perplexity of a loss in nats, its error carried over by the slope of the exponential."""
    mean = math.exp(loss["mean"])
    return {"mean": mean, "standard_error": mean * loss["standard_error"], "n": loss["n"]}


def confusion(lm, windows: Mapping[str, torch.Tensor]) -> np.ndarray:
    """Return how many windows of each style the model's own classifier takes for which, (K, K) counts.

    Args:
        lm: see the module.
        windows: by the name of their true style; a style of the model without windows is a row of zeros.
    """
    rows = torch.cat(list(windows.values()))[:, : lm.block_size]
    labels = torch.cat([torch.full((len(part),), lm.styles.index(name)) for name, part in windows.items()])
    head = evaluation.head_accuracy(lm.model, rows, labels.to(rows.device), [rows.size(1)])
    return np.array(head["confusion"])
