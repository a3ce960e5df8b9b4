"""Charts shared by all packages: curves, bands, intervals, heat maps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plugins.analysis.canvas import head, label_ends, logarithmic, new_canvas, new_figure, put_title, save
from plugins.analysis.palette import COLORS, GRAY, GRID, SEQUENTIAL, colors_of, markers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[np.ndarray, np.ndarray]
"""Places on the x axis and values, (N,) each."""
Band = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Places on the x axis, means and standard errors, (N,) each; or (2, N) distances to the ends of intervals."""

DASHES = ("-", "--", ":", "-.")
FEW_POINTS = 25  # curves with fewer points have markers


def validation_curves(
    path: str | Path, curves: Mapping[str, Curve], title: str, subtitle: str = "", unigram: float | None = None
) -> None:
    """Draw validation perplexity (logarithmic) against updates, one labeled curve per model.

    Args:
        path: output file; its suffix selects the format.
        curves: (updates, perplexities), each (N,) with N > 0, by the name of the model.
        title: the conclusion, in a sentence.
        subtitle: a smaller line below.
        unigram: a perplexity for comparison, drawn as a dashed line.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    colors, markers = colors_of(list(curves)), markers_of(list(curves))
    ends = {}  # (value, color) by label
    for name, (updates, values) in curves.items():
        look: dict[str, Any] = {"color": colors[name], "marker": markers[name]}
        axes.plot(updates, values, linewidth=1.8, markersize=4.5, clip_on=False, **look)
        ends[f"{name} {values[-1]:.0f}"] = values[-1], colors[name]
    if unigram is not None:
        axes.axhline(unigram, color=GRAY, linestyle="--", linewidth=1)
        ends[f"unigram {unigram:.0f}"] = unigram, GRAY
    axes.set_xlim(0, max(updates[-1] for updates, _ in curves.values()))
    logarithmic(axes)
    axes.set(xlabel="updates", ylabel="validation perplexity (log scale)")
    head(figure, title, subtitle, axes.get_position().x0)
    label_ends(axes, ends)
    save(figure, path)


def bands(path: str | Path, curves: Mapping[str, Band], title: str, ylabel: str, xlabel: str = "updates") -> None:
    """Draw curves with a band of ±1 standard error, each labeled at its end.

    Args:
        path: output file; its suffix selects the format.
        curves: by name.
        title: title of the figure.
        ylabel: label of the means.
        xlabel: label of the places.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    draw_bands(axes, curves, list(curves))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    places = {float(place) for x, _, _ in curves.values() for place in x}
    if len(places) == 1:
        axes.set_xticks(list(places))  # others would be fractions of an update
    head(figure, title, "", axes.get_position().x0)
    label_ends(axes, ends_of(curves, list(curves)))
    save(figure, path, bbox_inches="tight")


def draw_bands(axes: "Axes", curves: Mapping[str, Band], names: Sequence[str]) -> None:
    """Draw curves with their bands, in the color and dashes of each name's place among all ``names``."""
    opacity = min(0.2, 0.6 / len(names))  # where many bands overlap, each is to be seen through the others
    for name, (x, mean, error) in curves.items():
        look: dict[str, Any] = {"color": look_of(names)[name], "label": name}
        if len(x) == 1:  # a line or band with a single point would be invisible
            axes.errorbar(x, mean, error, marker="o", markersize=4, capsize=3, **look)
            continue
        dashes = DASHES[names.index(name) // len(COLORS) % len(DASHES)] if len(names) > len(COLORS) else "-"
        marker = markers_of(names)[name] if len(x) <= FEW_POINTS else None
        axes.plot(x, mean, linestyle=dashes, linewidth=1.6, marker=marker, markersize=4, **look)
        below, above = error if np.ndim(error) == 2 else (error, error)
        axes.fill_between(x, mean - below, mean + above, color=look["color"], alpha=opacity, linewidth=0)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def look_of(names: Sequence[str]) -> dict[str, str]:
    """Return a color for each name; where the palette repeats, dashes distinguish the curves."""
    if len(names) <= len(COLORS):
        return colors_of(names)
    return {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}


def ends_of(curves: Mapping[str, Band], names: Sequence[str], decimals: int | None = None) -> dict:
    """Return (last value, color) of curves by their labels, which are names, with ``decimals`` the last value too."""
    colors = look_of(names)
    return {
        name if decimals is None else f"{name} {mean[-1]:.{decimals}f}": (float(mean[-1]), colors[name])
        for name, (_, mean, _) in curves.items()
    }


def ranges(
    path: str | Path, groups: Mapping[str, Mapping[str, tuple[float, float, float]]], title: str, xlabel: str
) -> None:
    """Draw values with their intervals, one row per name and one color per group.

    Args:
        path: output file; its suffix selects the format.
        groups: {group: {name: (low, value, high)}}, the same names in each.
        title: title of the figure.
        xlabel: label of the values.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    names = list(next(iter(groups.values())))
    colors, markers = colors_of(list(groups)), markers_of(list(groups))
    for index, (group, members) in enumerate(groups.items()):
        low, value, high = np.array([members[name] for name in names]).T
        rows = np.arange(len(names)) + (index - (len(groups) - 1) / 2) * 0.15
        look: dict[str, Any] = {"color": colors[group], "marker": markers[group], "linestyle": "none"}
        axes.errorbar(value, rows, xerr=(value - low, high - value), markersize=5, capsize=3, label=group, **look)
    axes.set(title=title, xlabel=xlabel, yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    save(figure, path, bbox_inches="tight", bbox_extra_artists=[legend])


def heat_map(
    path: str | Path,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    names: tuple[str, str],
    note: str = "",
    label: str = "",
    errors: np.ndarray | None = None,
    decimals: int = 3,
    low: float | None = None,
) -> None:
    """Draw a matrix as colored cells with their values; NaN stays white.

    Args:
        path: output file; its suffix selects the format.
        values: (R, C).
        rows, columns: R and C labels.
        title: title of the figure.
        names: names of the row axis and of the column axis.
        note: a smaller line below the title.
        label: label of the values.
        errors: (R, C) standard errors, written below the values; NaN for none.
        decimals: number of decimals of the values written.
        low: value of the darkest color (default: the smallest value).

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = new_canvas(max(8.0, 2.6 + 1.15 * len(columns)), max(4.8, 1.7 + 0.55 * len(rows)))
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=SEQUENTIAL, aspect="auto", vmin=low)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(ylabel=names[0], xlabel=names[1])
    put_title(axes, title, note)
    middle = ((np.nanmin(values) if low is None else low) + np.nanmax(values)) / 2
    for (i, j), value in np.ndenumerate(values):
        if math.isnan(value):
            continue
        text = f"{value:.{decimals}f}"
        if errors is not None and not math.isnan(errors[i, j]):
            text += f"\n± {errors[i, j]:.{decimals}f}"
        axes.text(j, i, text, ha="center", va="center", color="black" if value > middle else "white", fontsize=9)
    figure.colorbar(image, label=label)
    save(figure, path, bbox_inches="tight")
