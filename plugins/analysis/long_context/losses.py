"""Loss by input length and by position, for causal and masked language models (Press et al., 2022).

Nonoverlapping windows measure the loss on inputs of L tokens, which mixes two effects: early tokens, which have little
context, are a smaller fraction of longer inputs, and models may fail at positions they were not trained on. Sliding
windows predict the same tokens at every length, each with L tokens of context, and measure only the second effect
(appendix B of the paper, "the early token curse").

The windows of every length cover the same passages of the text: a passage is one window of the longest length, or
several windows of a shorter length. Losses are reported per passage; intervals and differences are over passages.

Shapes: N tokens of a text, W passages, L tokens in a window, P predictions.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.analysis.language_model import LanguageModel
from plugins.analysis.metrics.bootstrap import interval
from plugins.errors import UserError
from plugins.modules.positions import Positions
from plugins.modules.scaling import Scaling

from . import causal, masked
from .memory import check_fits, peak_megabytes, reset_peak
from .windows import WindowSettings


def scheme_of(lm: LanguageModel) -> Positions:
    """Return the positional scheme of a model.

    Raises:
        UserError: the model uses no positional scheme of this package.
    """
    found = next((part for part in lm.model.modules() if isinstance(part, Positions)), None)
    if found is None:
        raise UserError(f"{type(lm.model).__name__} has no positions of this package, whose length could be changed")
    return found


def trained_length(lm: LanguageModel) -> int:
    """Return the training length of a model, in tokens."""
    options = lm.options
    return int(options.get("trained_length") or options.get("block_size") or options.get("max_positions"))


def evaluate(lm: LanguageModel, tokens: Tensor, settings: WindowSettings, scaling: str = "none") -> list[dict]:
    """Measure the loss at each length.

    Args:
        lm: model returned by ``plugins.hub.load``.
        tokens: (N,) the text, without special tokens.
        settings: lengths, windows and masks.
        scaling: method of position scaling; the factor is input length / training length.

    Returns:
        One dict per length: ``length``, ``times`` (length / training length), ``windows``, ``sliding`` and, for causal
        models that support it, ``cache`` (see :func:`summary`), ``by_position`` (causal) or ``by_distance`` (masked),
        ``tokens_per_second``, ``peak_mb``; or ``length``, ``times`` and ``limit`` if the length exceeds the model's
        position table.

    Raises:
        UserError: an input does not fit into memory, or the scheme does not support the scaling.
    """
    scheme, trained = scheme_of(lm), trained_length(lm)
    if scaling not in scheme.scalings:
        raise UserError(f"--scaling {scaling}: {type(scheme).__name__} supports {', '.join(scheme.scalings)}")
    before, training = scheme.scaling, lm.model.training
    lm.model.eval()
    found = []
    try:
        for length in settings.lengths:
            about = {"length": length, "times": length / trained}
            if scheme.limit is not None and length > scheme.limit:
                found.append({**about, "limit": scheme.limit})
                continue
            check_fits(lm, length)
            if scaling != "none":
                scheme.rescale(Scaling(scaling, max(1.0, length / trained), trained))
            with torch.inference_mode():
                found.append(about | measure(lm, tokens, length, settings))
    finally:
        scheme.rescale(before)
        lm.model.train(training)
    return found


def measure(lm: LanguageModel, tokens: Tensor, length: int, settings: WindowSettings) -> dict:
    """Measure a model at one length; see :func:`evaluate`."""
    kind = masked if lm.fills_masks else causal
    reset_peak(tokens.device)
    start = time.perf_counter()
    windows = kind.windows(lm, tokens, length, settings)
    seconds, peak = time.perf_counter() - start, peak_megabytes(tokens.device)
    return {
        "windows": summary(windows.losses),
        **{name: summary(losses) for name, losses in kind.sliding(lm, tokens, length, settings).items()},
        windows.name: [
            {"from": a, "to": b, **summary(losses, keep=False)}
            for (a, b), losses in zip(windows.edges, windows.bins, strict=True)
            if not np.isnan(losses).all()
        ],
        "tokens_per_second": windows.tokens / seconds,
        "peak_mb": peak,
    }


def summary(losses: np.ndarray | Sequence[float], keep: bool = True) -> dict[str, Any]:
    """Return ``mean``, ``low``, ``high`` and ``n`` of the losses of passages, and optionally ``losses``.

    ``low`` and ``high`` are the ends of a 95 % bootstrap interval, None for a single passage.

    Args:
        losses: (W,) losses of one run, or (R, W) of R runs; the bootstrap then resamples runs too. NaN where a passage
            has no prediction.
        keep: include the ``losses`` of the first run, with None for NaN.

    Raises:
        UserError: no passage has a prediction.
    """
    losses = np.atleast_2d(np.asarray(losses, dtype=float))
    known = losses[:, ~np.isnan(losses).any(0)]
    if not known.size:
        raise UserError("no token of the text is predicted; raise --mask-prob or --windows, or give more text")
    low, high = interval(known) if known.shape[1] > 1 else (None, None)
    found = {"mean": float(known.mean()), "low": low, "high": high, "n": known.shape[1]}
    return found | {"losses": [None if np.isnan(x) else x for x in losses[0].tolist()]} if keep else found
