"""Drawings of runs: panels of curves, and bars. matplotlib is imported when a drawing is asked for."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.analysis.plots import COLOURS, GREY, draw_bands, new_canvas, put_title, save


def band_panels(
    path: str | Path,
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]],
    title: str,
    ylabel: str,
    note: str = "",
) -> None:
    """Draw curves with bands of a standard error in panels side by side, with one scale and one legend, into a file.

    Falling curves may begin above the scale, see :func:`top_of`.

    Args:
        path: where to; the suffix chooses the format.
        panels: by the title of a panel, its curves by name, in the same colour in all panels.
        title: what the drawing shows.
        ylabel: what the means are.
        note: a smaller line under the title.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = new_canvas(5.2 * len(panels), 4.4)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    handles = {}
    for place, (heading, curves) in enumerate(panels.items(), start=1):
        first = figure.axes[0] if figure.axes else None
        axes = figure.add_subplot(1, len(panels), place, sharex=first, sharey=first)
        draw_bands(axes, curves, names)
        axes.set_title(heading, fontsize=10)
        axes.set(xlabel="updates", ylabel=ylabel if place == 1 else None)
        handles = {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)} | handles
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.text(0.5, 0.97, title, ha="center", fontsize=11.5, fontweight="bold")
    figure.text(0.5, 0.925, note, ha="center", fontsize=9, color=GREY)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": min(3, len(handles))}
    figure.legend(handles.values(), handles, frameon=False, fontsize=9, **below)
    figure.axes[0].set_ylim(top=top_of(panels))
    save(figure, path, bbox_inches="tight")


def top_of(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]) -> float | None:
    """Return how high the scale of losses goes, so that the fall of each first twentieth does not flatten the rest."""
    curves = [curve for of_panel in panels.values() for curve in of_panel.values()]
    shown = np.concatenate([(mean + error)[x >= x[-1] / 20] for x, mean, error in curves])
    everything = np.concatenate([mean for _, mean, _ in curves])
    room = 0.05 * (shown.max() - everything.min())
    return shown.max() + room if shown.max() + room < everything.max() else None


def bars(
    path: str | Path,
    groups: Sequence[str],
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    title: str,
    xlabel: str,
    note: str = "",
    line: tuple[float, str] | None = None,
) -> None:
    """Draw horizontal bars with error bars, a group of them under each other for each name, into a file.

    Args:
        path: where to; the suffix chooses the format.
        groups: G names, the first on top.
        series: by name, the values (G,) and how far the error bars reach down and up, (2, G) or (G,); NaN for none.
        title: what the drawing shows.
        xlabel: what the values are, and what the error bars.
        note: a smaller line under the title.
        line: a value for scale, drawn as a dashed line, and its name.

    Raises:
        UserError: matplotlib is not installed.
    """
    thickness = 0.8 / len(series)
    figure = new_canvas(8, 1.7 + 0.28 * max(len(series), 1.4) * len(groups))
    axes = figure.add_subplot()
    for index, (name, (values, errors)) in enumerate(series.items()):
        places = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * thickness
        axes.barh(places, values, 0.9 * thickness, xerr=errors, color=COLOURS[index % len(COLOURS)], label=name,
                  error_kw={"ecolor": "black", "elinewidth": 1, "capsize": 2.5})  # fmt: skip
        tops = values + np.nan_to_num(np.atleast_2d(errors)[-1])
        for place, value, top in zip(places, values, tops, strict=True):
            if not math.isnan(value):
                axes.annotate(f"{value:.3g}", (top, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    if line is not None:
        axes.axvline(line[0], color=GREY, linestyle="--", linewidth=1, label=f"{line[1]} {line[0]:.3g}")
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(xlabel)
    put_title(axes, title, note)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1 or line is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    save(figure, path, bbox_inches="tight")
