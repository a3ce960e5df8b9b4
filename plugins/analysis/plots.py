"""Figures shared by all packages. matplotlib is imported when a figure is drawn."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plugins.analysis.palette import COLORS, GRAY, colors_of, markers_of
from plugins.errors import UserError
from plugins.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[np.ndarray, np.ndarray]
"""Places on the x axis and values, (N,) each."""
Band = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Places on the x axis, means and standard errors, (N,) each."""

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
        title: of the figure.
        ylabel: of the means.
        xlabel: of the places.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    draw_bands(axes, curves, list(curves))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    head(figure, title, "", axes.get_position().x0)
    label_ends(axes, ends_of(curves, list(curves)))
    save(figure, path, bbox_inches="tight")


def draw_bands(axes: "Axes", curves: Mapping[str, Band], names: Sequence[str]) -> None:
    """Draw curves with their bands, in the color and dashes of each name's place among all ``names``."""
    for name, (x, mean, error) in curves.items():
        look: dict[str, Any] = {"color": look_of(names)[name], "label": name}
        if len(x) == 1:  # a line or band with a single point would be invisible
            axes.errorbar(x, mean, error, marker="o", markersize=4, capsize=3, **look)
            continue
        dashes = DASHES[names.index(name) // len(COLORS) % len(DASHES)] if len(names) > len(COLORS) else "-"
        marker = markers_of(names)[name] if len(x) <= FEW_POINTS else None
        axes.plot(x, mean, linestyle=dashes, linewidth=1.6, marker=marker, markersize=4, **look)
        axes.fill_between(x, mean - error, mean + error, color=look["color"], alpha=0.2, linewidth=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
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
        title: of the figure.
        xlabel: of the values.

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
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
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
) -> None:
    """Draw a matrix as colored cells with their values; NaN stays white.

    Args:
        path: output file; its suffix selects the format.
        values: (R, C).
        rows, columns: R and C labels.
        title: of the figure.
        names: of the row axis and of the column axis.
        note: a smaller line below the title.
        label: of the values.
        errors: (R, C) standard errors, written below the values; NaN for none.
        decimals: of the values written.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = new_canvas(max(8.0, 2.6 + 1.15 * len(columns)), max(4.8, 1.7 + 0.55 * len(rows)))
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="cividis", aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(ylabel=names[0], xlabel=names[1])
    put_title(axes, title, note)
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (i, j), value in np.ndenumerate(values):
        if math.isnan(value):
            continue
        text = f"{value:.{decimals}f}"
        if errors is not None and not math.isnan(errors[i, j]):
            text += f"\n± {errors[i, j]:.{decimals}f}"
        axes.text(j, i, text, ha="center", va="center", color="black" if value > middle else "white", fontsize=9)
    figure.colorbar(image, label=label)
    save(figure, path, bbox_inches="tight")


# Parts of figures


def put_title(axes: "Axes", title: str, note: str = "") -> None:
    """Write a title above the axes, and a smaller line below it."""
    axes.set_title(f"{title}\n" if note else title, fontsize=11.5, fontweight="bold")
    axes.annotate(note, (0.5, 1), (0, 6), "axes fraction", "offset points", ha="center", fontsize=8.5, color=GRAY)


def head(figure: "Figure", title: str, subtitle: str, left: float) -> None:
    """Write a title and a smaller line below it at the top of a figure, from ``left`` (a fraction of its width)."""
    figure.text(left, 0.94, title, fontsize=11.5, fontweight="bold")
    figure.text(left, 0.89, subtitle, fontsize=9, color=GRAY)


def new_figure() -> tuple["Figure", "Axes"]:
    """Return a figure of 1200 x 720 pixels with its axes, drawn without a display."""
    figure = new_canvas(8, 4.8)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.085, right=0.83, top=0.85, bottom=0.115)
    return figure, axes


def new_canvas(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches of 150 pixels, drawn without a display.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("drawing needs matplotlib: pip install -e '.[plots]'") from None
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: str | Path, **options: Any) -> None:
    """Write a figure atomically; a path without a suffix becomes a PNG. Dollar signs in its texts are not formulas.

    Args:
        figure: the figure.
        path: output file; its suffix selects the format.
        options: of matplotlib's ``savefig``.

    Raises:
        UserError: the file cannot be written, or matplotlib does not support the format.
    """
    from matplotlib.text import Text

    path = Path(path)
    kind = path.suffix.lstrip(".").lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise UserError(f"{path}: matplotlib cannot write .{kind}; use .png, .svg or .pdf")
    for text in figure.findobj(Text):  # names and texts of users, which may be invalid formulas
        text.set_parse_math(False)
    with replacing(path) as part:
        figure.savefig(part, format=kind, **options)


def logarithmic(axes: "Axes") -> None:
    """Make the y axis logarithmic, with round numbers as ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # Over less than a decade, only powers of ten would leave the axis without ticks.
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7) if high / low < 30 else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def label_ends(axes: "Axes", ends: Mapping[str, tuple[float, str]], size: float = 9.5) -> None:
    """Write labels at (value, color) to the right of the axes, moved up or down where two would overlap.

    Args:
        axes: with their final limits and scale.
        ends: by label.
        size: of the font, in points.
    """
    to_place, from_place = (np.log, math.exp) if axes.get_yscale() == "log" else (np.asarray, float)
    low, high = to_place(axes.get_ylim())
    figure: Any = axes.figure
    height = axes.get_position().height * figure.get_figheight() * 72  # points
    places = separate([float(to_place(value)) for value, _ in ends.values()], 1.3 * size / height * (high - low))
    where: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "xytext": (8, 0), "textcoords": "offset points"}
    for (label, (_, color)), place in zip(ends.items(), places, strict=True):
        xy = (1, from_place(place))
        axes.annotate(label, xy, **where, va="center", color=color, fontsize=size, annotation_clip=False)


def separate(places: Sequence[float], distance: float) -> list[float]:
    """Return places near the given ones, in the same order, no two of them closer than ``distance``.

    Places that are too close are centered on their mean.
    """
    order = np.argsort(places, kind="stable")
    groups: list[list[float]] = []  # of neighbors at the least distance: [places given]
    for place in np.asarray(places, dtype=float)[order]:
        groups.append([place])
        while len(groups) > 1 and _lowest(groups[-1], distance) - _highest(groups[-2], distance) < distance:
            groups[-2:] = [groups[-2] + groups[-1]]
    flat = [_lowest(group, distance) + distance * i for group in groups for i in range(len(group))]
    moved = np.empty(len(flat))
    moved[order] = flat
    return moved.tolist()


def _lowest(group: list[float], distance: float) -> float:
    return sum(group) / len(group) - distance * (len(group) - 1) / 2


def _highest(group: list[float], distance: float) -> float:
    return sum(group) / len(group) + distance * (len(group) - 1) / 2
