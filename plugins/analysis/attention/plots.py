"""Figures of attention: all heads, one head large, and the patterns of heads.

Shapes: L layers, H heads, T tokens. Layers and heads count from 0, as in the arrays. Text that begins in a
right-to-left script, for example Hebrew, runs from right to left; matplotlib orders the letters within a label.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from plugins.analysis.attention.names import STRONG, heads_in_order, readable, two_digits
from plugins.analysis.canvas import new_canvas, save
from plugins.analysis.palette import COLORS, GRAY, HIDDEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

TICKS = (0, 0.05, 0.2, 0.5, 1)  # of the bar of colors
LABELED = 16  # up to this many tokens, the panels of a grid are labeled with them
SHOWN_AS = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"})
SIDES = ("labelleft", "labelright")
KEYS, QUERIES = "key (attended to)", "query (attending)"


def attention_grid(path: str | Path, tokens: Sequence[str], attention: Sequence, title: str) -> None:
    """Draw the attention of every head: layers down, heads across.

    Args:
        path: output file; its suffix selects the format.
        tokens: T.
        attention: L arrays or tensors (1, H, T, T), from :func:`plugins.analysis.attention.capture.attention_of`.
        title: title of the figure.

    Raises:
        UserError: matplotlib is not installed, or does not support the format.
    """
    weights = np.stack([np.asarray(layer)[0] for layer in attention])  # (L, H, T, T)
    layers, heads = weights.shape[:2]
    figure = new_figure(1.3 * heads + 2, 1.3 * layers + 1.2, title)
    panels = figure.subplots(layers, heads, squeeze=False)
    hidden = never_seen(weights)
    for (layer, head), axes in np.ndenumerate(panels):
        image = show(axes, weights[layer, head], hidden)
        if layer == 0:
            axes.set_title(f"head {head}", fontsize=8)
        if head == 0:
            axes.set_ylabel(f"layer {layer}", fontsize=8)
        label_tokens(axes, tokens if len(tokens) <= LABELED else [], size=6)
        side = heads - 1 if right_to_left(tokens) else 0  # where the queries' labels are
        axes.tick_params(labelbottom=layer == layers - 1, **({} if head == side else dict.fromkeys(SIDES, False)))
    figure.supxlabel(KEYS, fontsize=9)
    figure.supylabel(QUERIES, fontsize=9)
    color_bar(figure, image, panels, "attention weight")
    save(figure, path)


def attention_map(path: str | Path, tokens: Sequence[str], weights: ArrayLike, title: str) -> None:
    """Draw a large map of one head's attention: keys on the x axis, queries on the y axis, tokens as labels.

    Args:
        path, tokens, title: as in :func:`attention_grid`.
        weights: (T, T).

    Raises:
        UserError: matplotlib is not installed, or does not support the format.
    """
    weights = np.asarray(weights)
    side = float(np.clip(0.17 * len(tokens), 4, 18))  # inches
    figure = new_figure(side + 2, side + 1, title)
    axes = figure.add_subplot()
    image = show(axes, weights, never_seen(weights[None]))
    label_tokens(axes, tokens, size=float(np.clip(50 * side / len(tokens), 4, 9)))
    axes.set(xlabel=KEYS, ylabel=QUERIES)
    color_bar(figure, image, axes, "attention weight")
    save(figure, path)


def pattern_maps(path: str | Path, scores: Mapping[str, Mapping], title: str) -> None:
    """Draw a map of all heads for each pattern, on a square-root scale; the best head is framed if it is strong.

    Args:
        path, title: as in :func:`attention_grid`.
        scores: returned by :func:`plugins.analysis.attention.head_scores.score_heads`.

    Raises:
        UserError: matplotlib is not installed, or does not support the format.
    """
    from matplotlib.colors import PowerNorm

    layers, heads = next(iter(scores.values()))["score"].shape
    across = min(len(scores), 3 if heads > 8 else 4)
    down = -(-len(scores) // across)
    figure = new_figure(
        across * (max(2.2, 0.34 * heads) + 0.5) + 1, down * (max(1.6, 0.28 * layers) + 0.8) + 0.5, title
    )
    panels = figure.subplots(down, across, squeeze=False)
    for axes, (name, found) in zip(panels.flat, scores.items(), strict=False):
        image = axes.imshow(found["score"], cmap="Blues", norm=PowerNorm(0.5, 0, 1, clip=True), aspect="auto")
        label_heads(axes, found)
        strong = bool(heads_in_order(found, STRONG))
        best = best_heads(found, 1)[0]
        axes.set_title(f"{readable(name)}\n{best if strong else f'no head above {STRONG}'}", fontsize=8,
                       color="black" if strong else GRAY)  # fmt: skip
    for axes in panels.flat[len(scores) :]:
        axes.set_axis_off()
    color_bar(figure, image, panels, "score: attention beyond a uniform head's")
    save(figure, path)


def best_heads(found: Mapping, count: int) -> list[str]:
    """Return the heads with the highest scores as text: ``layer 2 head 1: 0.22 (0.21 to 0.23)``, or ``no head``.

    Args:
        found: ``score``, ``low`` and ``high``, (L, H) each.
        count: maximum number.
    """
    texts = []
    for layer, head in heads_in_order(found)[:count]:
        score, low, high = (found[key][layer, head] for key in ("score", "low", "high"))
        interval = "no interval" if np.isnan(low) else f"{two_digits(low)} to {two_digits(high)}"  # a single text
        texts.append(f"layer {layer} head {head}: {two_digits(score)} ({interval})")
    return texts or ["no head"]


def visible(token: str) -> str:
    """Return a token with symbols for spaces and line breaks, and codes for other invisible characters."""
    shown = token.translate(SHOWN_AS)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)


def right_to_left(tokens: Sequence[str]) -> bool:
    """Return whether a text runs from right to left: by its first letter with a direction (Unicode annex 9, rule P2).

    Special tokens, for example ``<s>``, do not count.
    """
    letters = (c for token in tokens if not re.fullmatch(r"</?\w+>", token) for c in token)
    directions = (unicodedata.bidirectional(c) for c in letters)
    return next((direction != "L" for direction in directions if direction in ("L", "R", "AL")), False)


def never_seen(weights: np.ndarray) -> np.ndarray:
    """Return the mask (T, T) of later tokens that no head of (..., T, T) attends to: all of them in a causal model."""
    future = np.triu(np.ones(weights.shape[-2:], bool), 1)
    return future & ~weights.reshape(-1, *future.shape).any(0)


def show(axes: "Axes", weights: np.ndarray, hidden: np.ndarray) -> "AxesImage":
    """Draw (T, T) weights on a square-root scale, which makes weak ones visible; invisible keys are gray."""
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    colors = colormaps["Blues"].with_extremes(bad=HIDDEN)
    return axes.imshow(np.ma.array(weights, mask=hidden), cmap=colors, norm=PowerNorm(0.5, 0, 1), aspect="equal",
                       interpolation="nearest")  # fmt: skip


def label_tokens(axes: "Axes", tokens: Sequence[str], size: float) -> None:
    """Write tokens along both axes; a right-to-left text runs so across, and begins at its labels."""
    names = [visible(token) for token in tokens]
    upright = max(map(len, names), default=1) == 1
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=0 if upright else 90, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.tick_params(length=0, pad=2)
    if right_to_left(tokens):
        axes.set_xlim(len(tokens) - 0.5, -0.5)
        axes.yaxis.tick_right()


def label_heads(axes: "Axes", found: Mapping) -> None:
    """Number layers and heads, write the scores into their cells where there is room, and frame a strong best head."""
    from matplotlib.patches import Rectangle

    score = found["score"]
    layers, heads = score.shape
    axes.set_xticks(range(heads), map(str, range(heads)), fontsize=7)
    axes.set_yticks(range(layers), map(str, range(layers)), fontsize=7)
    axes.tick_params(length=0)
    axes.set_xlabel("head", fontsize=7, labelpad=1)
    axes.set_ylabel("layer", fontsize=7, labelpad=4)
    for (layer, head), value in np.ndenumerate(score):
        if heads <= 12 and not np.isnan(value):
            text, color = two_digits(value).replace("0.", "."), "white" if value > 0.3 else "black"
            axes.text(head, layer, text, ha="center", va="center", fontsize=5.5, color=color)
    for layer, head in heads_in_order(found, STRONG)[:1]:
        axes.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=COLORS[1], linewidth=1.8))


def new_figure(width: float, height: float, title: str) -> "Figure":
    """Return an empty figure of a size in inches whose layout leaves room for its labels."""
    figure = new_canvas(width, height)
    figure.set_layout_engine("constrained", w_pad=0.07)
    figure.suptitle(title, fontsize=11, fontweight="bold", parse_math=False)
    return figure


def color_bar(figure: "Figure", image: "AxesImage", axes: "Axes | np.ndarray", name: str) -> None:
    """Add a color bar to axes.

    Args:
        figure: the figure.
        image: the image whose colors are explained.
        axes: one or several axes that share the bar.
        name: its label.
    """
    bar = figure.colorbar(image, ax=axes, ticks=TICKS, shrink=0.5, aspect=25, fraction=0.05)
    bar.set_label(name, fontsize=8, color=GRAY)
    bar.ax.tick_params(labelsize=7)
