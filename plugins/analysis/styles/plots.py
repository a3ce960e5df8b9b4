"""Figures of the results of :mod:`plugins.analysis.styles.effects`. matplotlib is imported when a figure is drawn.

Shapes: T characters, C channels, H heads, K styles, L layers, M modulated layers, N points. Layers and heads count from
0, as in the arrays.
"""

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plugins.analysis.canvas import new_canvas, put_title, save
from plugins.analysis.palette import GRAY, GRID, SEQUENTIAL, colors_of, markers_of
from plugins.analysis.styles.effects import MIN_FOR_TSNE, Modulation, Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIVERGING = "PuOr"  # distinct for color-blind readers, white in the middle
LEGEND_COLUMNS = 6  # columns of a ribbon's legend
VISIBLE = {"\n": "↵", "\t": "→", "\r": "␍", " ": " "}


def plane(
    path: str | Path,
    laid_out: Plane,
    groups: Sequence[str],
    title: str,
    named: bool = False,
    styles: Sequence[str] = (),
) -> None:
    """Draw points in two dimensions, in the color and with the marker of their group.

    Args:
        path: output file; its suffix selects the format.
        laid_out: N points.
        groups: N names of groups.
        title: title of the points; a line below it names the projection.
        named: write the name of the group next to each point instead of a legend.
        styles: names of the styles, whose colors do not depend on which groups are present.
    """
    figure = new_canvas(6.8, 5.2)
    axes = figure.add_subplot()
    names = list(dict.fromkeys(groups))
    colors, markers = colors_of(names, styles), markers_of(names, styles)
    for name in names:
        chosen = laid_out.points[[group == name for group in groups]]
        marker = markers[name]
        x, y, size = chosen[:, 0], chosen[:, 1], 70 if named else 18
        axes.scatter(x, y, color=colors[name], marker=marker, s=size, alpha=0.85, label=name, lw=0)
        for point in chosen if named else ():
            axes.annotate(name, point, (7, 5), textcoords="offset points", fontsize=10)
    many = len(groups)
    if laid_out.method == "PCA":
        note = f"PCA, because t-SNE needs at least {MIN_FOR_TSNE} points" if many < MIN_FOR_TSNE else "PCA"
        labels = [f"component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(laid_out.shares)]
        axes.set(xlabel=labels[0], ylabel=labels[1] if len(labels) > 1 else "")
        axes.margins(0.2)
    else:
        note = f"t-SNE of {many} points: neighborhoods are meaningful, distances and axes are not"
        axes.set(xlabel="t-SNE axis 1 (no unit)", ylabel="t-SNE axis 2 (no unit)")
    put_title(axes, title, note)
    axes.spines[["top", "right"]].set_visible(False)
    if not named:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, title="text")
    save(figure, path, bbox_inches="tight")


# Along a text


def ribbon(
    path: str | Path, text: str, probabilities: np.ndarray, styles: Sequence[str], title: str, width: int = 72
) -> None:
    """Draw the probabilities of the styles as a ribbon over the characters of a text, in lines.

    A text in a right-to-left script runs from right to left.

    Args:
        path: output file; its suffix selects the format.
        text: T characters.
        probabilities: (T, K).
        styles: K names.
        title: title of the figure.
        width: characters per line.
    """
    width = min(width, len(text))
    lines = math.ceil(len(text) / width)
    colors, backwards = colors_of(styles, ()), reads_backwards(text)
    legend = 0.19 * math.ceil(len(styles) / LEGEND_COLUMNS)  # inches, as all of these
    top = 0.61 + legend
    high = top + 0.65 + 0.78 * lines  # title and legend, axis labels, lines
    figure = new_canvas(1.2 + 0.145 * max(width, 60), high)
    for line in range(lines):
        axes = figure.add_subplot(lines, 1, line + 1)
        part = slice(line * width, (line + 1) * width)
        draw_ribbon(axes, text[part], probabilities[part], [colors[name] for name in styles])
        axes.set_xlim((width, 0) if backwards else (0, width))
        axes.set_ylabel(f"{part.start + 1}", rotation=0, ha="right", va="center", fontsize=8, color=GRAY)
    figure.subplots_adjust(left=0.06, right=0.98, top=1 - top / high, bottom=0.65 / high, hspace=0.75)
    figure.text(0.5, 1 - 0.28 / high, title, ha="center", fontsize=11.5, fontweight="bold")
    what = {"ncols": min(len(styles), LEGEND_COLUMNS), "frameon": False, "fontsize": 9}
    handles = [_patch(colors[name], name) for name in styles]
    figure.legend(handles=handles, loc="center", bbox_to_anchor=(0.5, 1 - (0.425 + legend / 2) / high), **what)
    axis = "characters, the first of each line numbered; height: probability of the style after the character, 0 to 1"
    figure.text(0.5, 0.12 / high, axis, ha="center", fontsize=8, color=GRAY)
    save(figure, path)


def draw_ribbon(axes: "Axes", text: str, probabilities: np.ndarray, colors: Sequence) -> None:
    """Draw a line of a ribbon, one cell per character, and the characters below it."""
    edges = np.arange(len(text) + 1)
    tops = np.concatenate([np.zeros((len(text), 1)), probabilities.cumsum(1)], axis=1)  # (T, K + 1)
    for style, color in enumerate(colors):
        axes.stairs(tops[:, style + 1], edges, baseline=tops[:, style], fill=True, color=color, linewidth=0)
    for place, character in enumerate(text):
        shown = VISIBLE.get(character, character)
        axes.text(place + 0.5, -0.12, shown, ha="center", va="top", family="monospace", fontsize=9)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def reads_backwards(text: str) -> bool:
    """Return whether most letters of a text are of a right-to-left script."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    return sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L")


def _patch(color, name):
    from matplotlib.patches import Patch

    return Patch(color=color, label=name)


# What styles change


def modulation(path: str | Path, found: Modulation, styles: Sequence[str]) -> None:
    """Draw gain and shift of every style by channel, one row of panels per layer."""
    rows = len(found.layers)
    kinds = {"gain (1: no change)": (found.gain, 1.0), "shift (0: no change)": (found.shift, 0.0)}
    kinds = {
        name: part for name, part in kinds.items() if (part[0] != part[1]).any()
    }  # the published form has no shift
    kinds = kinds or {"gain (1: no change)": (found.gain, 1.0)}
    figure = new_canvas(1.2 + 5 * len(kinds), 1.3 + (0.5 + 0.2 * len(styles)) * rows)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, len(kinds), squeeze=False)
    for column, (name, (values, middle)) in enumerate(kinds.items()):
        reach = float(np.abs(values - middle).max()) or 1.0
        for row, axes in enumerate(grid[:, column]):
            image = axes.imshow(values[row], cmap=DIVERGING, vmin=middle - reach, vmax=middle + reach, aspect="auto",
                                interpolation="nearest")  # fmt: skip
            axes.set_yticks(range(len(styles)), styles if column == 0 else [""] * len(styles), fontsize=8)
            axes.set_title(f"layer {found.layers[row]}", fontsize=9, loc="left", pad=3)
            axes.tick_params(labelbottom=row == rows - 1, labelsize=8)
        grid[-1, column].set_xlabel("channel")
        figure.colorbar(image, ax=grid[:, column].tolist(), label=name, fraction=0.05, pad=0.01)
    figure.suptitle("Gain and shift of the hidden states, by style", fontsize=11.5, fontweight="bold")
    save(figure, path, bbox_inches="tight")


def modulation_strength(path: str | Path, found: Modulation, styles: Sequence[str]) -> None:
    """Draw the distance of each style from no change, by layer."""
    figure = new_canvas(9, 3.8)
    names = ("gain", "shift")
    first = None
    for place, (kind, values) in enumerate(zip(names, found.strength(), strict=True), start=1):
        first = axes = figure.add_subplot(1, 2, place, sharey=first)
        colors, markers = colors_of(styles, ()), markers_of(styles, ())
        for index, name in enumerate(styles):
            axes.plot(found.layers, values[:, index], color=colors[name], label=name, marker=markers[name],
                      linewidth=1.5)  # fmt: skip
        axes.set(title=kind, xlabel="layer, from 0", ylabel="distance from no change (RMS)" if place == 1 else None)
        axes.set_xticks(found.layers)
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
    figure.suptitle("How much each style changes, over all channels", fontsize=11.5, fontweight="bold")
    figure.tight_layout()  # before the legend, which for many styles is taller than the axes and would take their room
    columns = math.ceil(len(styles) / 16)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), ncols=columns, frameon=False, fontsize=9)
    save(figure, path, bbox_inches="tight")


def attention_differences(path: str | Path, moved: np.ndarray, styles: Sequence[str]) -> None:
    """Draw how much of each head's attention a style moves, one map of layers x heads per style.

    Args:
        path: output file; its suffix selects the format.
        moved: (K, L, H) total variation from the mean over all styles, 0 to 1.
        styles: K names.
    """
    columns = min(4, len(styles))
    rows = math.ceil(len(styles) / columns)
    _, layers, heads = moved.shape
    figure = new_canvas(1.6 + 2.3 * columns, 1.1 + (0.7 + 0.28 * layers) * rows)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(styles) :]:
        axes.set_visible(False)
    for axes, name, values in zip(grid.flat, styles, moved, strict=False):
        image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=moved.max() or 1.0, aspect="auto")
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(heads))
        axes.set_yticks(range(layers))
        axes.set_xlabel("head, from 0")
    for axes in grid[:, 0]:
        axes.set_ylabel("layer, from 0")
    figure.colorbar(image, ax=grid.ravel().tolist(), label="share of attention moved", fraction=0.03, pad=0.02)
    figure.suptitle(
        "Attention that a forced style moves, from the mean of all styles", fontsize=11.5, fontweight="bold"
    )
    save(figure, path, bbox_inches="tight")


def attention_of_head(
    path: str | Path, weights: np.ndarray, characters: Sequence[str], styles: Sequence[str], head: tuple[int, int]
) -> None:
    """Draw a head's attention under each style minus its mean over all styles.

    Args:
        path: output file; its suffix selects the format.
        weights: (K, T, T) of the head, under each forced style.
        characters: T, the labels of the maps.
        styles: K names.
        head: layer and number, from 0.
    """
    columns = min(2, len(styles))
    rows = math.ceil(len(styles) / columns)
    size = 0.9 + 0.085 * len(characters)
    figure = new_canvas(1.2 + size * columns, 0.6 + size * rows)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(styles) :]:
        axes.set_visible(False)
    differences = weights - weights.mean(0)
    reach = float(np.abs(differences).max()) or 1.0
    shown = [VISIBLE.get(character, character) for character in characters]
    for axes, name, values in zip(grid.flat, styles, differences, strict=False):
        image = axes.imshow(values, cmap=DIVERGING, vmin=-reach, vmax=reach, interpolation="nearest")
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(shown)), shown, fontsize=6, family="monospace")
        axes.set_yticks(range(len(shown)), shown, fontsize=6, family="monospace")
        axes.tick_params(length=0, pad=1)
        axes.set(xlabel="key", ylabel="query")
    figure.colorbar(image, ax=grid.ravel().tolist(), label="attention weight minus the mean", fraction=0.03, pad=0.02)
    figure.suptitle(f"Layer {head[0]}, head {head[1]}: attention under each forced style",
                    fontsize=11.5, fontweight="bold")  # fmt: skip
    save(figure, path, bbox_inches="tight")
