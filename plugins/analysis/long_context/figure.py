"""One figure of loss by length, whose title is the conclusion."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.analysis import canvas, plots

KINDS = {
    "sliding": "same tokens, each with the whole length as context",
    "windows": "windows that do not overlap; early tokens have little context",
}
UNCHANGED = "unchanged"
SMALL = 0.005  # nats, rounded to none
WIDE = 0.05  # nats: an interval that includes 0 and reaches farther does not show that a loss is unchanged
Series = Mapping[str, Sequence[Mapping]]
"""The results of :func:`.pooling.pool` by the name of the model."""


def conclusion(series: Series) -> str:
    """Return for which models the loss changes least and most from the trained length to the longest input.

    The loss of the same tokens counts. A change is one if its interval excludes 0; if it includes 0, the loss is
    unchanged only where the interval is narrow. Models whose position table ends before are named only if all do.
    """
    longest = max(row["times"] for rows in series.values() for row in rows)
    where = "At the trained length" if longest == 1 else f"At {longest:g} times the trained length"
    lasts = {
        name: max(rows, key=lambda row: row["times"]) for name, rows in series.items() if name not in ended(series)
    }
    if not lasts:
        return f"{where}, no model has positions left"
    if all(row["change"]["from"] == row["times"] for row in lasts.values()):  # a single length
        best = min(lasts, key=lambda name: lasts[name]["sliding"]["mean"])
        return f"{where}, {best} has the lowest loss, {lasts[best]['sliding']['mean']:.2f} nats"
    first, *others = sorted(lasts, key=lambda name: lasts[name]["change"]["mean"])
    if all(verdict(row["change"]) == UNCHANGED for row in lasts.values()) and others:
        return f"{where}, the loss of {'both' if len(lasts) == 2 else f'all {len(lasts)}'} models is {UNCHANGED}"
    text = f"{where}, the loss of {first} is {verdict(lasts[first]['change'])}"
    return f"{text}, that of {others[-1]} {verdict(lasts[others[-1]]['change'])}" if others else text


def ended(series: Series) -> list[str]:
    """Return the models whose position table is shorter than the longest input."""
    return [name for name, rows in series.items() if any("limit" in row for row in rows)]


def verdict(change: Mapping) -> str:
    """Return a difference of losses in words."""
    if change["low"] is not None and change["low"] <= 0 <= change["high"]:
        reach = max(-change["low"], change["high"])
        return UNCHANGED if reach < WIDE else f"uncertain by {reach:.2f} nats"
    if abs(change["mean"]) < SMALL:
        return UNCHANGED
    return f"{abs(change['mean']):.2f} nats {'higher' if change['mean'] > 0 else 'lower'}"


def draw(path: str | Path, series: Series) -> None:
    """Draw loss against length in two panels: sliding windows, and windows that do not overlap.

    Bands are 95 % intervals; a cross marks where a table of positions ends.

    Args:
        path: output file; its suffix selects the format.
        series: by name.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = canvas.new_canvas(11, 4.8)
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.07, right=0.86, top=0.8, bottom=0.13, wspace=0.06)
    ticks = sorted({row["times"] for rows in series.values() for row in rows})
    for axes, (kind, label) in zip(panels, KINDS.items(), strict=True):
        curves, colors = {}, plots.look_of(list(series))
        for name, rows in series.items():
            known = [row for row in rows if kind in row]
            if not known:
                continue
            x, mean, low, high = (np.array(values, dtype=float) for values in zip(
                *((row["times"], *(row[kind][end] for end in ("mean", "low", "high"))) for row in known), strict=True
            ))  # fmt: skip
            curves[name] = x, mean, np.nan_to_num(np.stack([mean - low, high - mean]))
            if len(known) < len(rows):
                axes.plot(x[-1:], mean[-1:], marker="x", markersize=11, markeredgewidth=2, color=colors[name])
        plots.draw_bands(axes, curves, list(series))
        axes.set_xscale("log", base=2)
        axes.set_xlim(ticks[0] / 1.2, ticks[-1] * 1.2)
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("length of the input, in trained lengths")
        axes.set_title(label, fontsize=9.5, loc="left")
    panels[0].set_ylabel("loss (nats per token)")
    canvas.head(figure, conclusion(series), note(series), 0.07)
    canvas.label_ends(panels[1], plots.ends_of(curves, list(series)))
    canvas.save(figure, path)


def note(series: Series) -> str:
    """Return the line below the title: what the bands and crosses are."""
    known = [row for rows in series.values() for row in rows if "sliding" in row]
    runs, passages = max((row["runs"], row["sliding"]["n"]) for row in known) if known else (1, 0)
    over = f"{passages} passages of the text" if runs == 1 else f"{runs} runs and {passages} passages of the text"
    crosses = f"; x: end of the position table of {', '.join(ended(series))}" if ended(series) else ""
    return f"bands: 95 % intervals over {over}{crosses}"
