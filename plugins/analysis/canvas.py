"""Figures without a display: creation, titles, labels, and saving. matplotlib is imported when a figure is drawn."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plugins.analysis.palette import GRAY, GRID
from plugins.errors import UserError
from plugins.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


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
        options: options of matplotlib's ``savefig``.

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
    axes.set_yscale("log")
    round_ticks(axes.yaxis)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def round_ticks(axis: "Axis") -> None:
    """Set round numbers as the ticks of a logarithmic axis; matplotlib's powers are formulas, which are not drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    # Over less than a decade, only powers of ten would leave the axis without ticks.
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7) if high / low < 30 else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def label_ends(axes: "Axes", ends: Mapping[str, tuple[float, str]], size: float = 9.5) -> None:
    """Write labels at (value, color) to the right of the axes, moved up or down where two would overlap.

    Args:
        axes: with their final limits and scale.
        ends: by label.
        size: size of the font, in points.
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
    groups: list[list[float]] = []  # positions of neighbors at the minimum distance
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
