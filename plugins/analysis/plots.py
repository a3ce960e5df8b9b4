"""Drawings of what the rest of this package computes. matplotlib is imported when a drawing is asked for."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.errors import UserError

# Okabe and Ito's colours, which remain distinct for colour-blind readers (purple and yellow darker, as text is
# written in them too); markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#A3457F", "#B88600", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"

Curve = tuple[np.ndarray, np.ndarray]


def validation_curves(
    path: str | Path, curves: Mapping[str, Curve], title: str, subtitle: str = "", unigram: float | None = None
) -> None:
    """Draw validation perplexity (on a logarithmic axis) against updates, a labelled curve a model, into a file.

    Args:
        path: where to; the suffix chooses the format.
        curves: (updates, perplexities), each (N,) with N > 0, by the model's name.
        title: what the drawing shows, in a sentence.
        subtitle: a smaller line under it.
        unigram: a perplexity for scale, drawn as a dashed line.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    ends = {}  # (value, colour) by label
    for index, (name, (updates, values)) in enumerate(curves.items()):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        axes.plot(updates, values, color=colour, marker=marker, linewidth=1.8, markersize=4.5, clip_on=False)
        ends[f"{name} {values[-1]:.0f}"] = values[-1], colour
    if unigram is not None:
        axes.axhline(unigram, color=GREY, linestyle="--", linewidth=1)
        ends[f"unigram {unigram:.0f}"] = unigram, GREY
    axes.set_xlim(0, max(updates[-1] for updates, _ in curves.values()))
    label_axes(axes, title, subtitle)
    label_ends(axes, ends)
    figure.savefig(path)


def bands(
    path: str | Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], title: str, ylabel: str
) -> None:
    """Draw curves with a band of one standard error on either side into a file.

    Args:
        path: where to; the suffix chooses the format.
        curves: (updates, means, standard errors), each (N,), by name.
        title: what the drawing shows.
        ylabel: what the means are.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    draw_bands(axes, curves, list(curves))
    axes.set(title=title, xlabel="updates", ylabel=ylabel)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    figure.savefig(path, bbox_inches="tight", bbox_extra_artists=[legend])


def band_panels(
    path: str | Path,
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]],
    title: str,
    ylabel: str,
    note: str = "",
) -> None:
    """Draw what :func:`bands` does in panels side by side, with one scale and one legend, into a file.

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
        handles |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.text(0.5, 0.97, title, ha="center", fontsize=11.5, fontweight="bold")
    figure.text(0.5, 0.925, note, ha="center", fontsize=9, color=GREY)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": min(3, len(handles))}
    figure.legend(handles.values(), handles, frameon=False, fontsize=9, **below)
    figure.axes[0].set_ylim(top=top_of(panels))
    figure.savefig(path, bbox_inches="tight")


def top_of(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]) -> float | None:
    """Return how high the scale of losses goes, so that the fall of the first twentieth does not flatten the rest."""
    curves = [curve for of_panel in panels.values() for curve in of_panel.values()]
    start = max(x[-1] for x, _, _ in curves) / 20
    shown = np.concatenate([(mean + error)[x >= start] for x, mean, error in curves])
    everything = np.concatenate([mean for _, mean, _ in curves])
    room = 0.05 * (shown.max() - everything.min())
    return shown.max() + room if shown.max() + room < everything.max() else None


def draw_bands(axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], names: Sequence[str]) -> None:
    """Draw curves and their bands, in the colour and dashes of a name's place among all names."""
    dashes = ("-", "--", ":", "-.")
    for name, (x, mean, error) in curves.items():
        index = names.index(name)
        look = {"color": COLOURS[index % len(COLOURS)], "label": name}
        if len(x) == 1:  # neither a line nor a band of one point can be seen
            axes.errorbar(x, mean, error, marker="o", markersize=4, capsize=3, **look)
            continue
        axes.plot(x, mean, linestyle=dashes[index // len(COLOURS) % len(dashes)], linewidth=1.5, **look)
        axes.fill_between(x, mean - error, mean + error, color=look["color"], alpha=0.2, linewidth=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


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
    axes.set_title(f"{title}\n" if note else title, fontsize=11.5, fontweight="bold")
    axes.annotate(note, (0.5, 1), (0, 6), "axes fraction", "offset points", ha="center", fontsize=9, color=GREY)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1 or line is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    figure.savefig(path, bbox_inches="tight")


def heat_map(
    path: str | Path,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    names: tuple[str, str],
) -> None:
    """Draw a matrix as coloured cells with their values into a file; NaN stays white.

    Args:
        path: where to; the suffix chooses the format.
        values: (R, C).
        rows, columns: R and C labels.
        title: what the drawing shows.
        names: what the rows are, and what the columns are.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    image = axes.imshow(values, cmap="cividis", aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, ylabel=names[0], xlabel=names[1])
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (i, j), value in np.ndenumerate(values):
        if not math.isnan(value):
            colour = "black" if value > middle else "white"
            axes.text(j, i, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image)
    figure.savefig(path)


def new_figure():
    """Return a figure of 1200 x 720 pixels and its axes, drawn without a display."""
    figure = new_canvas(8, 4.8)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.085, right=0.83, top=0.85, bottom=0.115)
    return figure, axes


def new_canvas(width: float, height: float):
    """Return an empty figure of a size in inches of 150 pixels, drawn without a display."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("drawing needs matplotlib: pip install -e '.[plots]'") from None
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    return figure


def label_axes(axes, title: str, subtitle: str) -> None:
    """Name the axes, put round numbers on the logarithmic one, and take away what does not inform."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # Over less than a decade the powers of ten alone would leave the axis bare.
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7) if high / low < 30 else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="updates", ylabel="validation perplexity (log scale)")
    left = axes.get_position().x0
    axes.figure.text(left, 0.94, title, fontsize=11.5, fontweight="bold")
    axes.figure.text(left, 0.89, subtitle, fontsize=9, color=GREY)


def label_ends(axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write labels at (value, colour) to the right of the axes, moved up or down where two would overlap."""
    low, high = np.log(axes.get_ylim())
    places = spread([math.log(value) for value, _ in ends.values()], 0.052 * (high - low))
    where = {"xycoords": axes.get_yaxis_transform(), "xytext": (8, 0), "textcoords": "offset points"}
    for (label, (_, colour)), place in zip(ends.items(), places, strict=True):
        xy = (1, math.exp(place))
        axes.annotate(label, xy, **where, va="center", color=colour, fontsize=9.5, annotation_clip=False)


def spread(places: Sequence[float], distance: float) -> list[float]:
    """Return places near the given ones, in the same order, no two of them nearer than ``distance``.

    Where some are too near each other, the group is centred on its mean.
    """
    order = np.argsort(places, kind="stable")
    groups: list[list[float]] = []  # of neighbours at the least distance: [places given]
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
