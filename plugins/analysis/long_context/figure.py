"""One figure of loss by length, whose title is the conclusion."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from plugins.analysis import canvas, plots

KINDS = {"sliding": "same tokens, each with the whole length as context", "windows": "windows that do not overlap"}


def conclusion(series: Mapping[str, Sequence[Mapping]]) -> str:
    """Return which model gains and which loses most from its trained length to the longest input.

    Args:
        series: the results of :func:`.losses.evaluate` by name.
    """
    change, longest, ended = {}, 1.0, []
    for name, rows in series.items():
        longest = max(longest, *(row["times"] for row in rows))
        known = [row for row in rows if "sliding" in row]
        if any("limit" in row for row in rows):
            ended.append(name)
        elif known:
            first = min(known, key=lambda row: abs(row["times"] - 1))
            change[name] = max(known, key=lambda row: row["times"])["sliding"]["mean"] - first["sliding"]["mean"]
    words = f"At {longest:g} times the trained length, "
    if not change:
        return words + "no model has positions"
    best, worst = min(change, key=change.__getitem__), max(change, key=change.__getitem__)
    parts = [f"{name} {'loses' if change[name] > 0 else 'gains'} {abs(change[name]):.2f} nats"
             for name in dict.fromkeys([best, worst])]  # fmt: skip
    if ended:
        parts.append(f"{', '.join(ended)} {'ends' if len(ended) == 1 else 'end'} before")
    return words + ", ".join(parts)


def draw(path: str | Path, series: Mapping[str, Sequence[Mapping]]) -> None:
    """Draw loss against length in two panels: sliding windows, and windows that do not overlap.

    Bands are one standard error over windows, or over runs that were pooled; a cross marks where a table of positions
    ends.

    Args:
        path: output file; its suffix selects the format.
        series: the results of :func:`.losses.evaluate` by name.

    Raises:
        UserError: matplotlib is not installed.
    """
    import numpy as np

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
            x, mean, error = (np.array(values, dtype=float) for values in zip(
                *((row["times"], row[kind]["mean"], row[kind]["standard_error"]) for row in known), strict=True
            ))  # fmt: skip
            curves[name] = x, mean, np.nan_to_num(error)
            if len(known) < len(rows):
                axes.plot(x[-1:], mean[-1:], marker="x", markersize=11, markeredgewidth=2, color=colors[name])
        plots.draw_bands(axes, curves, list(series))
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("length of the input, in trained lengths")
        axes.set_title(label, fontsize=9.5, loc="left")
    panels[0].set_ylabel("loss (nats per token)")
    ended = any("limit" in row for rows in series.values() for row in rows)
    over = f"{n} runs" if (n := max(row.get("runs", 1) for rows in series.values() for row in rows)) > 1 else "windows"
    note = f"bands: one standard error over {over}" + ("; x: the table of positions ends" if ended else "")
    canvas.head(figure, conclusion(series), note, 0.07)
    canvas.label_ends(panels[1], plots.ends_of(curves, list(series)))
    canvas.save(figure, path)
