"""The styles of a character LM as arrays: their embeddings, the style of a text, and the changes that each makes.

``lm`` is a :class:`plugins.hub.CharLM` whose model has styles.

Shapes: T characters, C channels, H heads, K styles, L layers, M modulated layers, N windows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from plugins.analysis.attention.capture import capture
from plugins.analysis.language_model import StyleLM
from plugins.analysis.metrics.means import mean_and_error
from plugins.analysis.styles import evaluation
from plugins.errors import UserError
from plugins.modules.published_style import PublishedStyle

MIN_FOR_TSNE = 30
"""Fewer points have no neighborhoods for t-SNE to preserve, and are projected by PCA."""
INFERRED, NO_STYLE = "(inferred)", "(none)"
"""Names of the other two conditions: the style is inferred, or there is none."""


def adapter_of(lm: StyleLM) -> Any:
    """Return the style adapter of a model.

    Raises:
        UserError: the model has none.
    """
    lm.check_styles()
    return lm.model.decoder.style


# Embeddings of styles and texts


@dataclass(frozen=True)
class Plane:
    """Vectors projected to two dimensions.

    Attributes:
        points: (N, 2).
        method: ``PCA`` or ``t-SNE``.
        shares: shares of the variance on the two axes; empty for t-SNE, whose axes have no meaning.
    """

    points: np.ndarray
    method: str
    shares: tuple[float, ...] = ()


def embeddings(lm: StyleLM) -> np.ndarray:
    """Return the embedding of each style, (K, D)."""
    return adapter_of(lm).style_embeddings.detach().float().cpu().numpy()


def flatten(vectors: np.ndarray, seed: int = 1) -> Plane:
    """Project vectors (N, D) to two dimensions by t-SNE (van der Maaten and Hinton, 2008), or a few vectors by PCA.

    t-SNE preserves neighborhoods. A few points have none, and t-SNE would show its random initialization, so fewer
    than :data:`MIN_FOR_TSNE` points are projected on their first two principal components.
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
def summaries(lm: StyleLM, windows: torch.Tensor) -> np.ndarray:
    """Return the input of the style classifier at the end of each window of :func:`windows_of`, (N, R).

    Raises:
        UserError: the model infers no style.
    """
    classifier = classifier_of(lm)
    if classifier is None:
        raise infers_nothing(lm)
    read = []  # once per pass, or in the published form once per modulated layer
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


def classifier_of(lm: StyleLM) -> torch.nn.Module | None:
    """Return the style classifier of a model, or None where it infers none (``--style-inference given``, ...)."""
    adapter = adapter_of(lm)
    return adapter.style_classifier if isinstance(adapter, PublishedStyle) else adapter.classifier


def infers_nothing(lm: StyleLM) -> UserError:
    """Return the error for a model that infers no style."""
    return UserError(f"--style-inference {lm.model.cfg.style_inference} infers no style from a text")


# The style of a text


@torch.inference_mode()
def probabilities(lm: StyleLM, text: str, refresh: int | None = None) -> np.ndarray:
    """Return the inferred probability of each style after each character of a text, (T, K).

    Past the end of the block the window slides, as in sampling, so a text may have any length.

    Args:
        lm: see the module.
        text: at least one character; rows are characters for a byte model, too.
        refresh: stride of the windows; of each but the first, the last ``refresh`` characters count. The default is
            that of :meth:`plugins.hub.CharLM.sample`.

    Raises:
        UserError: the model infers no style, or the text is empty or contains an unknown character.
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
    if lm.dictionary.unit == "byte":  # after the last byte of each character
        rows = rows[np.cumsum([len(character.encode()) for character in text]) - 1]
    return rows


def style_probabilities(lm: StyleLM, tokens: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (B, T, K) of the styles after each of the tokens (B, T), given no later token.

    Raises:
        UserError: the style of this model is given, not inferred.
    """
    if lm.sees_the_future:  # it classifies the end of its input
        ends = range(1, tokens.size(1) + 1)
        logits = torch.cat([lm.model(tokens[:, :end])[1]["style_logits"] for end in ends], dim=1)
    else:
        logits = lm.model(tokens)[1]["style_logits"]
    if logits is None:
        raise infers_nothing(lm)
    return logits.float().softmax(-1)


def windows_of(lm: StyleLM, text: str, count: int) -> torch.Tensor:
    """Return up to ``count`` windows of a text as tokens (N, block + 1), evenly spaced.

    Raises:
        UserError: the text is not longer than the block, or contains an unknown character.
    """
    size = lm.block_size + 1
    tokens = lm.encode_some(text, size)
    rows = tokens[: len(tokens) // size * size].view(-1, size)
    return rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()]


# The changes that each style makes


@dataclass(frozen=True)
class Modulation:
    """The modulation x * gain + shift of hidden states x after each modulated layer, for each single style.

    Attributes:
        layers: the M layers, from 0.
        gain: (M, K, C), 1 for no change.
        shift: (M, K, C), 0 for no change; always 0 in the published form.
    """

    layers: tuple[int, ...]
    gain: np.ndarray
    shift: np.ndarray

    def strength(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the root mean squares over the channels of gain - 1 and of shift, both (M, K)."""
        return tuple(np.sqrt((part**2).mean(-1)) for part in (self.gain - 1, self.shift))


@torch.inference_mode()
def modulation(lm: StyleLM) -> Modulation:
    """Return the modulation vectors of every style."""
    adapter = adapter_of(lm)
    if isinstance(adapter, PublishedStyle):
        vectors = adapter.style_proj(adapter.style_embeddings)  # (K, C)
        parts = [cast(torch.nn.ModuleDict, adapter.style_adapters[i])["linear"] for i in range(len(adapter.layers))]
        gain = torch.stack([part(vectors) for part in parts])
        shift = torch.zeros_like(gain)
    else:
        tables = adapter.tables()
        rows = torch.stack([tables[layer] for layer in adapter.layers])  # (M, K, 2C)
        gain, shift = rows.chunk(2, dim=-1)
        gain = 1 + gain
    return Modulation(tuple(adapter.layers), gain.float().cpu().numpy(), shift.float().cpu().numpy())


@torch.inference_mode()
def attention_under_styles(lm: StyleLM, tokens: torch.Tensor) -> np.ndarray:
    """Return the attention weights (K, L, H, T, T) of tokens (T,) when each style is forced on them in turn."""
    adapter_of(lm)
    styles = torch.eye(lm.model.num_styles, device=lm.device)
    with capture(lm.model) as layers:
        lm.model(tokens.expand(len(styles), -1), styles=styles)
        return torch.stack(list(layers), dim=1).float().cpu().numpy()  # L of (K, H, T, T)


def attention_differences(lm: StyleLM, windows: torch.Tensor) -> np.ndarray:
    """Return the share of each head's attention that each forced style moves in each window, (N, K, L, H).

    It is the total variation distance between a query's attention under the style and its mean over all styles,
    averaged over the queries: 0 for no difference, 0.3 if three tenths of the attention move to other keys.
    """
    rows = []
    for tokens in windows[:, : lm.block_size]:
        weights = attention_under_styles(lm, tokens)
        moved = np.abs(weights - weights.mean(0)).sum(-1) / 2  # (K, L, H, T)
        rows.append(moved.mean(-1))
    return np.stack(rows)


def forced_perplexity(lm: StyleLM, windows: Mapping[str, torch.Tensor]) -> dict[str, dict[str, dict]]:
    """Return the perplexity of texts under each forced style, the inferred style, and no style.

    Args:
        lm: see the module.
        windows: windows of each text by its name, from :func:`windows_of`.

    Returns:
        {text: {style, :data:`INFERRED` or :data:`NO_STYLE`: ``mean`` and ``standard_error`` over windows, ``n``}}.
        Predictions depend on earlier characters only, in the published form, too.
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
    """Return the perplexity of a loss in nats; its error is propagated by the slope of the exponential."""
    mean = math.exp(loss["mean"])
    return {"mean": mean, "standard_error": mean * loss["standard_error"], "n": loss["n"]}


def confusion(lm: StyleLM, windows: Mapping[str, torch.Tensor]) -> np.ndarray:
    """Return the confusion matrix of the model's own classifier, (K, K) counts of windows, rows for true styles.

    Args:
        lm: see the module.
        windows: by the name of their true style; a style without windows is a row of zeros.
    """
    rows = torch.cat(list(windows.values()))[:, : lm.block_size]
    labels = torch.cat([torch.full((len(part),), lm.styles.index(name)) for name, part in windows.items()])
    head = evaluation.head_accuracy(lm.model, rows, labels.to(rows.device), [rows.size(1)])
    return np.array(head["confusion"])
