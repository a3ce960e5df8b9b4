"""Figures of runs: panels of curves, and bars. matplotlib is imported when a figure is drawn."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plugins.analysis.canvas import head, label_ends, new_canvas, put_title, save
from plugins.analysis.palette import GRAY, GRID, colors_of
from plugins.analysis.plots import Band, draw_bands, ends_of
from plugins.tables import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, LABEL = 5.0, 0.095  # inches: of a panel, and of a letter of a curve's label


def band_panels(
    path: str | Path,
    panels: Mapping[str, Mapping[str, Band]],
    title: str,
    ylabel: str,
    note: str = "",
    decimals: int = 2,
) -> None:
    """Draw curves with bands of ±1 standard error in panels side by side, with a shared scale, labeled at their ends.

    A curve is labeled, with its last value, in the last panel that has it. Falling curves may begin above the scale,
    see :func:`top_of`.

    Args:
        path: output file; its suffix selects the format.
        panels: by the title of a panel, its curves by name, in the same color in all panels.
        title: the conclusion, or a description of the figure.
        ylabel: label of the means.
        note: a smaller line below the title.
        decimals: number of decimals of the last values.

    Raises:
        UserError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    last = {name: heading for heading, curves in panels.items() for name in curves}
    ends = {
        heading: ends_of({name: of for name, of in curves.items() if last[name] == heading}, names, decimals)
        for heading, curves in panels.items()
    }
    # The labels of a panel follow the axes' edge to its right.
    rooms = [0.3 + LABEL * max(map(len, labels), default=0) for labels in ends.values()]
    width, high, left = 0.8 + PANEL * len(panels) + sum(rooms), 4.8, 0.8
    figure = new_canvas(width, high)
    first: Axes | None = None
    for (heading, curves), room in zip(panels.items(), rooms, strict=True):
        axes = figure.add_axes((left / width, 0.55 / high, PANEL / width, (high - 1.55) / high),
                               sharex=first, sharey=first)  # fmt: skip
        first, left = first or axes, left + PANEL + room
        draw_bands(axes, curves, names)
        axes.set_title(heading, fontsize=10, loc="left")
        axes.set(xlabel="updates", ylabel=ylabel if axes is first else None)
    assert first is not None  # callers draw one panel at least
    first.set_ylim(top=top_of(panels))
    for axes, labels in zip(figure.axes, ends.values(), strict=True):
        label_ends(axes, labels, size=9.5 if len(names) <= 16 else 7)
    head(figure, title, note, first.get_position().x0)
    save(figure, path, bbox_inches="tight")


def top_of(panels: Mapping[str, Mapping[str, Band]]) -> float | None:
    """Return the upper limit of the loss axis, which cuts off the steep first twentieth of each curve, or None."""
    curves = [curve for of_panel in panels.values() for curve in of_panel.values()]
    shown = np.concatenate([(mean + error)[x >= x[-1] / 20] for x, mean, error in curves])
    everything = np.concatenate([mean for _, mean, _ in curves])
    room = 0.05 * (shown.max() - everything.min())
    return shown.max() + room if shown.max() + room < everything.max() else None


def conclusion(curves: Mapping[str, Band], what: str, decimals: int = 2) -> str:
    """Return which of several falling curves gets lowest, as a title.

    Args:
        curves: by name, at least one.
        what: the quantity that falls, for example "validation loss".
        decimals: number of decimals of the values.

    Returns:
        For curves with standard errors, a curve is called lowest only if it is so by two standard errors of the
        difference.
    """
    lows = {name: int(np.argmin(mean)) for name, (_, mean, _) in curves.items()}
    order = sorted(curves, key=lambda name: curves[name][1][lows[name]])
    best = order[0]
    x, mean, error = (part[lows[best]] for part in curves[best])
    if len(order) == 1:
        return f"{best}: the {what} falls to {mean:.{decimals}f} after {x:,.0f} updates"
    _, other, other_error = (part[lows[order[1]]] for part in curves[order[1]])
    if other - mean < 2 * math.hypot(error, other_error) or round(other, decimals) == round(mean, decimals):
        return f"{best} and {order[1]} are level: {what} {mean:.{decimals}f} and {other:.{decimals}f}"
    return f"{best} has the lowest {what}, {mean:.{decimals}f}, after {x:,.0f} updates"


def bars(
    path: str | Path,
    groups: Sequence[str],
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    title: str,
    xlabel: str,
    note: str = "",
    line: tuple[float, str] | None = None,
) -> None:
    """Draw horizontal bars with error bars, one group of them for each name.

    Args:
        path: output file; its suffix selects the format.
        groups: G names, the first on top.
        series: by name, the values (G,) and the lengths of the error bars below and above, (2, G) or (G,); NaN for
            none.
        title: title of the figure.
        xlabel: label of the values and the error bars.
        note: a smaller line below the title.
        line: a value for comparison, drawn as a dashed line, and its name.

    Raises:
        UserError: matplotlib is not installed.
    """
    thickness, colors = 0.8 / len(series), colors_of(list(series))
    figure = new_canvas(8, 1.7 + 0.28 * max(len(series), 1.4) * len(groups))
    axes = figure.add_subplot()
    for index, (name, (values, errors)) in enumerate(series.items()):
        places = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * thickness
        axes.barh(places, values, 0.9 * thickness, xerr=errors, color=colors[name], label=name,
                  error_kw={"ecolor": "black", "elinewidth": 1, "capsize": 2.5})  # fmt: skip
        tops = values + np.nan_to_num(np.atleast_2d(errors)[-1])
        for place, value, top in zip(places, values, tops, strict=True):
            if not math.isnan(value):
                axes.annotate(
                    significant(value, 3), (top, place), (4, 0), textcoords="offset points", va="center", fontsize=8
                )
    if line is not None:
        axes.axvline(line[0], color=GRAY, linestyle="--", linewidth=1)
        xlabel += f" (dashed: {line[1]}, {significant(line[0], 3)})"
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(xlabel)
    put_title(axes, title, note)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    save(figure, path, bbox_inches="tight")
