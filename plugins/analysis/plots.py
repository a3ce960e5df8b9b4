"""Drawings of what the rest of this package computes. matplotlib is imported when a drawing is asked for."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.errors import UserError
from plugins.files import replacing

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
    save(figure, path)


def bands(
    path: str | Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    title: str,
    ylabel: str,
    xlabel: str = "updates",
) -> None:
    """Draw curves with a band of one standard error on either side into a file.

    Args:
        path: where to; the suffix chooses the format.
        curves: (places on the x axis, means, standard errors), each (N,), by name.
        title: what the drawing shows.
        ylabel: what the means are.
        xlabel: what the places are.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    draw_bands(axes, curves, list(curves))
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    save(figure, path, bbox_inches="tight", bbox_extra_artists=[legend])


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


def ranges(path: str | Path, groups: Mapping[str, Mapping[str, tuple[float, float, float]]], title: str, xlabel: str):
    """Draw values with their intervals, a row a name and a colour a group, into a file.

    Args:
        path: where to; the suffix chooses the format.
        groups: {group: {name: (low, value, high)}}, the same names in each.
        title: what the drawing shows.
        xlabel: what the values are.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    names = list(next(iter(groups.values())))
    for index, (group, members) in enumerate(groups.items()):
        low, value, high = np.array([members[name] for name in names]).T
        rows = np.arange(len(names)) + (index - (len(groups) - 1) / 2) * 0.15
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "linestyle": "none"}
        axes.errorbar(value, rows, xerr=(value - low, high - value), markersize=5, capsize=3, label=group, **style)
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
    *,
    note: str = "",
    label: str = "",
    errors: np.ndarray | None = None,
    decimals: int = 3,
) -> None:
    """Draw a matrix as coloured cells with their values into a file; NaN stays white.

    Args:
        path: where to; the suffix chooses the format.
        values: (R, C).
        rows, columns: R and C labels.
        title: what the drawing shows.
        names: what the rows are, and what the columns are.
        note: a smaller line under the title.
        label: what the values are.
        errors: (R, C) standard errors, written under the values; NaN for none.
        decimals: of what is written.

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
        said = f"{value:.{decimals}f}"
        if errors is not None and not math.isnan(errors[i, j]):
            said += f"\n± {errors[i, j]:.{decimals}f}"
        axes.text(j, i, said, ha="center", va="center", color="black" if value > middle else "white", fontsize=9)
    figure.colorbar(image, label=label)
    save(figure, path, bbox_inches="tight")


def put_title(axes, title: str, note: str = "") -> None:
    """Write a title, and a smaller line under it, above axes."""
    axes.set_title(f"{title}\n" if note else title, fontsize=11.5, fontweight="bold")
    axes.annotate(note, (0.5, 1), (0, 6), "axes fraction", "offset points", ha="center", fontsize=8.5, color=GREY)


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


def save(figure, path: str | Path, **options) -> None:
    """Write a figure, whole or not at all; a path without a suffix becomes a PNG. Dollars in its texts are dollars.

    Args:
        figure: the figure.
        path: where to; the suffix chooses the format.
        options: of matplotlib's ``savefig``.

    Raises:
        UserError: it cannot be written, or matplotlib does not know the format.
    """
    from matplotlib.text import Text

    path = Path(path)
    kind = path.suffix.lstrip(".").lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise UserError(f"{path}: matplotlib cannot write .{kind}; take .png, .svg or .pdf")
    for text in figure.findobj(Text):  # names and texts of users, which need not be sound formulas
        text.set_parse_math(False)
    with replacing(path) as part:
        figure.savefig(part, format=kind, **options)


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
