"""Measures of style: consistency, transfer, a model's own classifier, and the cost of forcing a style.

Labels are indices of styles, 0 to K - 1, and -1 (:data:`~plugins.analysis.styles.classifiers.NONE`) for no style.
Standard errors are over independent texts or windows, never over windows of one text.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from tqdm import tqdm

from plugins.analysis.metrics.means import mean_and_error
from plugins.analysis.styles.classifiers import NONE, cut

Predict = Callable[[Sequence[str]], np.ndarray]


# Generated text, judged from outside


def consistency(labels: np.ndarray, style: int | None = None) -> float:
    """Return the share of the windows of a text that have its style.

    The style of a text is the requested one. If none was requested, it is, for each window, the most frequent style of
    the *other* windows: a window does not vote for itself, so that independent windows agree by chance, 1/K. Ties count
    in parts. A window without style agrees with nothing and does not vote: random letters score 0.

    Args:
        labels: (N,) of the windows of one text.
        style: the requested style, or None.

    Returns:
        0 to 1; NaN without windows, or for a single window without a requested style.
    """
    if style is not None:
        return float((labels == style).mean()) if len(labels) else math.nan
    if len(labels) < 2:
        return math.nan
    counts = np.bincount(labels[labels != NONE], minlength=1)
    scores = []
    for label in labels:
        if label == NONE:
            scores.append(0.0)
            continue
        others = counts.copy()
        others[label] -= 1
        most = others.max()
        scores.append((others[label] == most) / (others == most).sum() if most else 0.0)
    return float(np.mean(scores))


def consistency_by_length(
    texts: Sequence[str], predict: Predict, lengths: Sequence[int], styles: Sequence[int] | None = None
) -> dict:
    """Return {length: mean consistency over texts with its standard error}.

    Args:
        texts: each is judged separately.
        predict: maps windows to labels (N,).
        lengths: characters of the windows.
        styles: the requested ones, one per text.
    """
    scores = {}
    for length in lengths:
        labels = [predict(cut(text, length)) for text in texts]
        asked = styles if styles is not None else [None] * len(texts)
        scores[length] = mean_and_error([consistency(*pair) for pair in zip(labels, asked, strict=True)])
    return scores


def confusion(true: ArrayLike, predicted: ArrayLike, styles: int) -> np.ndarray:
    """Return counts (K, K + 1): rows are true styles, columns predicted ones, the last for none."""
    table = np.zeros((styles, styles + 1), int)
    np.add.at(table, (np.asarray(true), np.asarray(predicted)), 1)  # NONE, -1, is the last column
    return table


def transfer(
    texts: Mapping[int, Sequence[str]], predict: Predict, length: int, base: Sequence[float] | None = None
) -> dict:
    """Return how often generated text has the requested style.

    Args:
        texts: by requested style.
        predict: maps windows to labels.
        length: length of the windows.
        base: (K,) share of each style in text that was generated without a requested style.

    Returns:
        ``success`` (mean over texts), ``by_style``, ``confusion`` (see :func:`confusion`), and with base rates
        ``above_base``: the success minus the base rate, per style.
    """
    shares, true, found = {}, [], []
    for style, of_style in texts.items():
        labels = [predict(cut(text, length)) for text in of_style]
        shares[style] = [consistency(row, style) for row in labels]
        for row in labels:
            true += [style] * len(row)
            found += row.tolist()
    result = {
        "success": mean_and_error([share for of_style in shares.values() for share in of_style]),
        "by_style": {style: mean_and_error(of_style) for style, of_style in shares.items()},
        "confusion": confusion(np.array(true, int), np.array(found, int), len(texts)).tolist(),
    }
    if base is not None:
        result["above_base"] = {style: result["by_style"][style]["mean"] - float(base[style]) for style in texts}
    return result


def base_rates(texts: Sequence[str], predict: Predict, length: int, styles: int) -> np.ndarray:
    """Return (K + 1,): the shares of windows with each style, and with none.

    Args:
        texts: generated without a requested style.
        predict: maps windows to labels.
        length: characters of a window.
        styles: K.
    """
    labels = np.concatenate([predict(cut(text, length)) for text in texts])
    return np.bincount(np.where(labels == NONE, styles, labels), minlength=styles + 1) / max(1, len(labels))


def agreement(one: np.ndarray, other: np.ndarray) -> dict:
    """Return the share of windows (N,) with equal labels of two classifiers, and Cohen's kappa, 0 at chance."""
    one, other = np.asarray(one), np.asarray(other)
    if not len(one):
        return {"share": math.nan, "kappa": math.nan, "n": 0}
    share = float((one == other).mean())
    chance = float(sum((one == label).mean() * (other == label).mean() for label in np.unique(one)))
    return {"share": share, "kappa": (share - chance) / (1 - chance) if chance < 1 else math.nan, "n": len(one)}


def accuracy_by_length(texts: Sequence[str], predict: Predict, lengths: Sequence[int]) -> dict:
    """Return a classifier's accuracy on unseen text of each style, {length: mean over windows with its error}.

    ``texts[k]`` is of style k. All styles have the same weight.
    """
    result = {}
    for length in lengths:
        rows = [predict(cut(text, length)) == style for style, text in enumerate(texts)]
        means = [mean_and_error(row.astype(float)) for row in rows]
        error = math.sqrt(sum(m["standard_error"] ** 2 for m in means)) / len(means)
        mean = float(np.mean([m["mean"] for m in means]))
        result[length] = {"mean": mean, "standard_error": error, "n": sum(m["n"] for m in means)}
    return result


# The model itself


@torch.inference_mode()
def head_accuracy(model: Callable, windows: torch.Tensor, labels: torch.Tensor, lengths: Sequence[int]) -> dict:
    """Evaluate a model's own classifier on unseen text, after several numbers of characters.

    Args:
        model: maps tokens (B, T) to logits and ``{"style_logits": (B, T or 1, K)}``.
        windows: (N, T) tokens.
        labels: (N,) true styles.
        lengths: numbers of characters; those above T are skipped.

    Returns:
        ``accuracy`` {length: mean and standard error over windows} and, after the longest, ``confusion`` (K, K).
    """
    result, found = {}, None
    for length in (n for n in lengths if n <= windows.size(1)):
        parts = [model(part)[1]["style_logits"][:, -1] for part in windows[:, :length].split(64)]  # (64, K)
        logits = torch.cat(parts).float()
        found = logits.argmax(-1)
        result[length] = mean_and_error((found == labels).double().tolist())
    assert found is not None  # lengths contains one that the windows have
    styles = logits.size(-1)
    return {"accuracy": result, "confusion": confusion(labels.cpu(), found.cpu(), styles)[:, :styles].tolist()}


@torch.inference_mode()
def nats(model: Callable, windows: torch.Tensor, styles: torch.Tensor | None = None) -> torch.Tensor:
    """Return -ln p of each next token in one pass, (N, T - 1).

    Args:
        model: maps tokens (B, T) to logits (B, T, V) and more.
        windows: (N, T) tokens.
        styles: (K,) mixture that is forced, zeros for none; None for the inferred style.
    """
    rows = []
    for part in windows.split(64):
        forced = None if styles is None else styles.expand(len(part), -1)
        logits = model(part[:, :-1], styles=forced)[0] if forced is not None else model(part[:, :-1])[0]
        rows.append(F.cross_entropy(logits.float().transpose(1, 2), part[:, 1:], reduction="none"))
    return torch.cat(rows)


def style_cost(losses: Callable[[torch.Tensor | None], torch.Tensor], true: int, styles: int) -> dict:
    """Return the loss on text of one style, given the true, a wrong, no or the inferred style.

    Args:
        losses: maps a style (K,), zeros for none, or None (inferred), to nats (N, T) of the same windows.
        true: the style of the text.
        styles: K.

    Returns:
        Nats per token for ``true``, ``inferred``, ``none`` and ``wrong`` (mean over the K - 1 others), with standard
        errors over windows; and ``wrong_minus_true``, paired by window.
    """
    one_hot = torch.eye(styles)
    true_loss = losses(one_hot[true]).mean(1)  # (N,)
    others = [losses(one_hot[other]).mean(1) for other in range(styles) if other != true]
    result = {"true": true_loss, "inferred": losses(None).mean(1), "none": losses(torch.zeros(styles)).mean(1)}
    if others:
        result["wrong"] = torch.stack(others).mean(0)
        result["wrong_minus_true"] = result["wrong"] - true_loss
    return {name: mean_and_error(values.tolist()) for name, values in result.items()}


@torch.inference_mode()
def honest_loss(model: Callable, windows: torch.Tensor, batch: int = 64, progress: bool = False) -> dict:
    """Return the loss of a model in one pass, and its honest loss: each token predicted only from its prefix.

    In one pass over a window, a model whose hidden states depend on later tokens has seen the tokens that it predicts.
    The honest loss runs it on each prefix separately and uses the prediction at the last position, as sampling does.
    For a causal model the two are equal.

    Args:
        model: maps tokens (B, T) to logits (B, T, V) and more.
        windows: (N, T) tokens; N x (T - 1) are predicted.
        batch: prefixes per forward pass, all of the same length, without padding.
        progress: show a progress bar.

    Returns:
        ``one_pass``, ``honest`` and ``gap`` (honest minus one pass), in nats per token, with standard errors over
        windows; ``tokens``, the number of predicted tokens.
    """
    one_pass = nats(model, windows)  # (N, T - 1)
    honest = torch.empty_like(one_pass)
    lengths = range(1, windows.size(1))
    for length in tqdm(lengths, desc="honest loss", unit="prefix", leave=False, disable=None if progress else True):
        for start in range(0, len(windows), batch):
            part = windows[start : start + batch]
            logits = model(part[:, :length])[0][:, -1].float()  # (batch, V)
            honest[start : start + batch, length - 1] = F.cross_entropy(logits, part[:, length], reduction="none")
    rows = {"one_pass": one_pass, "honest": honest, "gap": honest - one_pass}
    return {name: mean_and_error(row.mean(1).tolist()) for name, row in rows.items()} | {"tokens": honest.numel()}
