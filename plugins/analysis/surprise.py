"""The surprisal of each token of a text with the model's first choices, as numbers and as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plugins.analysis.attention.plots import visible
from plugins.analysis.canvas import new_canvas, save
from plugins.analysis.language_model import LanguageModel
from plugins.analysis.metrics.surprisal import Surprisal, surprisal
from plugins.analysis.palette import COLORS, GRAY
from plugins.data.dictionaries import MASK
from plugins.errors import UserError

CHOICES = 5  # first choices for each token
LONGEST = 14  # characters of a token in the figure
ROW, COLUMN = 0.27, 1.35  # inches


def predictions(lm: LanguageModel, text: str, choices: int = CHOICES) -> dict | None:
    """Return each token's surprisal, and the model's first choices in its place; None for a text without any.

    Returns:
        ``note`` and ``mean``, sentences, and of T tokens ``tokens``, ``bits`` and ``truth`` (their probability; None
        where a token is not predicted) and ``choices``, a list of (token, probability) each.
    """
    if MASK in text:
        return None
    try:
        found = surprisal(lm, text, choices)
    except UserError:  # a single token
        return None
    return numbers(lm, found)


def numbers(lm: LanguageModel, found: Surprisal) -> dict:
    """Return the surprisals of :func:`plugins.analysis.metrics.surprisal.surprisal` as in :func:`predictions`."""
    how = "given all the other tokens (pseudo-likelihood)" if lm.fills_masks else "given the tokens before it"
    kind = "pseudo-perplexity" if lm.fills_masks else "perplexity"
    mean = f"{found.mean_bits:.2f} bits per token, a {kind} of {found.perplexity:,.1f}."
    note = (
        f"The surprisal of each token, -log2 of its probability {how}. Strong colors are unexpected tokens; point at "
        f"one to see what the model expected. Mean: {mean}"
    )
    bits = [None if np.isnan(value) else round(value, 3) for value in found.bits.tolist()]
    choices = []
    for ids, probabilities in zip(found.choices, found.probabilities.tolist(), strict=True):
        predicted = not np.isnan(probabilities[0])
        names = lm.tokens(torch.as_tensor(ids)) if predicted else []
        choices.append([(name, round(p, 4)) for name, p in zip(names, probabilities, strict=predicted)])
    truth = [None if value is None else 2**-value for value in bits]
    tokens = lm.tokens(found.ids)
    return {"note": note, "mean": mean, "tokens": tokens, "bits": bits, "truth": truth, "choices": choices}


def draw(path: str | Path, found: Mapping[str, Any], title: str) -> None:
    """Draw a row for each token: its surprisal as a bar, its probability, and the first choices of the model.

    Args:
        path: output file; its suffix selects the format.
        found: returned by :func:`predictions`. The color of a choice follows the square root of its probability; the
            choice that is the token is framed.
        title: title of the figure.

    Raises:
        UserError: matplotlib is not installed, or does not support the format.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    rows, columns = len(found["tokens"]), max(map(len, found["choices"]))
    most = max(value for value in found["bits"] if value is not None) or 1.0
    figure = new_canvas(4.6 + COLUMN * columns, ROW * rows + 1.7)
    size = figure.get_size_inches()
    axes = figure.add_axes((1.3 / size[0], 0.25 / size[1], 1 - 1.5 / size[0], ROW * (rows + 1) / size[1]))
    axes.set(xlim=(0, 3.1 + COLUMN * columns), ylim=(rows, -1))  # inches to the right, rows downwards
    axes.set_axis_off()
    for x, name in ((0, "surprise in bits"), (2.2, "probability"), (3.1, "the model's first choices")):
        axes.text(x, -0.55, name, fontsize=8, color=GRAY, va="center")
    for row, (token, bits, choices) in enumerate(zip(found["tokens"], found["bits"], found["choices"], strict=True)):
        axes.text(-0.1, row + 0.5, short(token), ha="right", va="center", fontsize=9)
        if bits is None:
            axes.text(0, row + 0.5, "not predicted", va="center", fontsize=8, color=GRAY)
            continue
        axes.barh(row + 0.5, 1.6 * bits / most, height=0.7, color=COLORS[0])
        axes.text(1.6 * bits / most + 0.05, row + 0.5, f"{bits:.1f}", va="center", fontsize=8)
        axes.text(2.2, row + 0.5, f"{2**-bits:.2g}", va="center", fontsize=8)
        for column, (choice, probability) in enumerate(choices):
            x = 3.1 + COLUMN * column
            shade = colormaps["Blues"](0.85 * probability**0.5)
            axes.add_patch(Rectangle((x, row + 0.05), COLUMN - 0.05, 0.9, facecolor=shade, linewidth=1.2,
                                     edgecolor="black" if choice == token else "none"))  # fmt: skip
            ink = "white" if probability > 0.5 else "black"
            axes.text(x + 0.05, row + 0.5, short(choice), va="center", fontsize=8, color=ink)
            axes.text(x + COLUMN - 0.1, row + 0.5, f"{probability:.2f}", ha="right", va="center", fontsize=8, color=ink)
    left, top = 0.3 / size[0], size[1]
    figure.text(left, 1 - 0.4 / top, title, fontsize=11.5, fontweight="bold")
    note = f"Mean: {found['mean']} A framed choice is the token of the text."
    figure.text(left, 1 - 0.7 / top, note, fontsize=9, color=GRAY)
    save(figure, path)


def short(token: str) -> str:
    """Return a token as one printable label of at most :data:`LONGEST` characters."""
    shown = visible(token)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
