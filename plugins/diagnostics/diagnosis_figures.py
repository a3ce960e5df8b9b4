"""Figures of a diagnosis; each answers the question in its title."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins.analysis.canvas import new_canvas, put_title, save
from plugins.analysis.palette import COLORS, GRAY, GRID, SEQUENTIAL

MANY = 5000  # number of points above which a map shows their density


def information(path: str | Path, inputs: Mapping[str, Mapping], prior: float) -> None:
    """Draw the calibrated V of each input as a bar with its interval, and the label entropy as the upper bound.

    Args:
        path: output file.
        inputs: {name: result of :func:`.diagnosis.measured`}.
        prior: H(Y), bits.
    """
    figure = new_canvas(8, 1.8 + 0.42 * len(inputs))
    axes = figure.add_subplot()
    places = np.arange(len(inputs))
    values = np.array([m["V_calibrated"] for m in inputs.values()])
    ends = np.array([m["V_calibrated_interval"] for m in inputs.values()]).T
    errors = np.maximum(0, [values - ends[0], ends[1] - values])
    axes.barh(places, values, 0.65, xerr=errors, color=COLORS[0], error_kw={"elinewidth": 1, "capsize": 3})
    for place, value, high in zip(places, values, ends[1], strict=True):
        axes.annotate(f"{value:z.3f}", (max(value, high), place), (5, 0), textcoords="offset points", va="center",
                      fontsize=8.5)  # fmt: skip
    axes.axvline(prior, color=GRAY, linestyle="--", linewidth=1)
    axes.annotate(f"H(Y) {prior:.3f}", (prior, 1), (-4, -11), xycoords=axes.get_xaxis_transform(), ha="right",
                  textcoords="offset points", fontsize=8.5, color=GRAY)  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(places, [short(name) for name in inputs])
    axes.invert_yaxis()
    axes.set(xlabel="usable information (bits per row, calibrated; 95 % interval)")
    put_title(axes, "How much label information is in each part of the input?")
    _plain(axes, "x")
    save(figure, path, bbox_inches="tight")


def short(name: str) -> str:
    """Return the name of an input without the folders of its file."""
    kind, colon, argument = name.partition(":")
    return kind + colon + Path(argument).name if colon else name


def data_map(
    path: str | Path, found: Mapping[str, np.ndarray], marked: np.ndarray | None = None, what: str = "",
    held_out: bool = False,
) -> None:  # fmt: skip
    """Draw the data map, confidence against variability; large data sets are drawn as a density.

    Args:
        path: output file.
        found: ``confidence``, ``variability`` and ``correctness``, (n,); NaN for missing rows.
        marked: (n,) bool, rows to mark.
        what: description of the marked rows.
        held_out: whether the rows are held out from training.
    """
    figure = new_canvas(8, 5.2)
    axes = figure.add_subplot()
    known = np.isfinite(found["confidence"])
    x, y = found["variability"][known], found["confidence"][known]
    if len(x) > MANY:
        image = axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, vmin=0.4, cmap="Greys", linewidths=0)
        figure.colorbar(image, label="rows (log scale)", format=lambda value, _: f"{value:,.0f}")
    else:
        image = axes.scatter(x, y, s=7, c=found["correctness"][known], cmap=SEQUENTIAL, linewidths=0)
        figure.colorbar(image, label="correctness (epochs in which the label is predicted)")
    if marked is not None and marked[known].any():
        own = marked[known]
        axes.scatter(x[own], y[own], s=10, facecolors="none", edgecolors=COLORS[1], linewidths=0.6, label=what)
        axes.legend(frameon=False, fontsize=8.5, loc="upper right")
    axes.set(xlabel="variability of the label's probability over epochs", ylabel="mean probability of the label",
             ylim=(-0.02, 1.02))  # fmt: skip
    note = "top left easy, right ambiguous, bottom left hard"
    rows, task = ("held-out rows", "predict") if held_out else ("rows", "learn")
    put_title(axes, f"Which {rows} are easy, ambiguous or hard to {task}?", note)
    _plain(axes, "both")
    save(figure, path, bbox_inches="tight")


def by_slice(path: str | Path, slices: Mapping[str, Mapping[str, Mapping]]) -> None:
    """Draw the calibrated V of each class and slice with intervals."""
    rows = [(f"{what}: {value}", m) for what, values in slices.items() for value, m in values.items()][:40]
    figure = new_canvas(8, 1.8 + 0.3 * len(rows))
    axes = figure.add_subplot()
    for place, (_, m) in enumerate(rows):
        low, high = m["V_calibrated_interval"]
        axes.plot([low, high], [place, place], color=COLORS[0], linewidth=2)
        axes.plot(m["V_calibrated"], place, "o", color=COLORS[0], markersize=5)
        where: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "va": "center"}
        axes.annotate(f"{m['rows']:,} rows", (1.01, place), fontsize=8, color=GRAY, **where)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name[:50] for name, _ in rows])
    axes.invert_yaxis()
    axes.set(xlabel="usable information (bits per row, calibrated; 95 % interval)")
    put_title(axes, "Which classes and slices are hard?")
    _plain(axes, "x")
    save(figure, path, bbox_inches="tight")


def epochs(path: str | Path, rows: Sequence[Mapping]) -> None:
    """Draw raw and calibrated V after each epoch, with a thin line for each seed.

    Args:
        path: output file.
        rows: returned by :func:`.diagnosis.by_epoch`.
    """
    figure = new_canvas(7.5, 4.6)
    axes = figure.add_subplot()
    x = [row["epoch"] for row in rows]
    for color, key, name in ((COLORS[1], "V", "raw"), (COLORS[0], "V_calibrated", "calibrated")):
        axes.plot(x, [row[key] for row in rows], color=color, marker="o", label=name)
        for seed in zip(*(row[f"{key}_by_seed"] for row in rows), strict=True):
            axes.plot(x, seed, color=color, linewidth=0.6, alpha=0.5)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(x)
    axes.set(xlabel="epochs", ylabel="usable information (bits per row)")
    put_title(axes, "Does information vanish, or does confidence grow too large?", "thin lines: single seeds")
    _plain(axes, "y")
    axes.legend(frameon=False)
    save(figure, path, bbox_inches="tight")


def stability(path: str | Path, pvi: np.ndarray) -> None:
    """Draw the overlap of the hardest rows of two seeds against the length of the lists.

    Args:
        path: output file.
        pvi: (S, n), S at least 2.
    """
    from .usable_information import shared_lowest

    shares = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
    shares = shares[shares * pvi.shape[1] >= 1]
    figure = new_canvas(7, 4.4)
    axes = figure.add_subplot()
    axes.plot(100 * shares, [100 * shared_lowest(pvi, share) for share in shares], marker="o", color=COLORS[0],
              label="another seed")  # fmt: skip
    axes.plot(100 * shares, 100 * shares, color=GRAY, linestyle="--", linewidth=1, label="chance")
    axes.set_xscale("log")
    axes.set_xticks(100 * shares, [f"{100 * share:g}" for share in shares])
    axes.minorticks_off()
    axes.set(xlabel="hardest rows (%)", ylabel="shared with another seed (%)", ylim=(0, 100))
    put_title(axes, "Would another seed call the same rows hard?")
    _plain(axes, "y")
    axes.legend(frameon=False)
    save(figure, path, bbox_inches="tight")


def precision(path: str | Path, found: Mapping[str, np.ndarray], total: int, title: str) -> None:
    """Draw the number of errors found against the number of inspected rows, for several orders of the rows.

    Args:
        path: output file.
        found: {order: (m,) cumulative errors after 1, 2, ... rows}.
        total: number of errors among all rows.
        title: the question that the figure answers.
    """
    figure = new_canvas(8, 4.8)
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(found.items()):
        style: dict[str, Any] = (
            {"color": GRAY, "linestyle": "--"} if name == "random" else {"color": COLORS[i % len(COLORS)]}
        )
        axes.plot(np.arange(1, len(values) + 1), values, label=name, **style)
    axes.set(xlabel="rows inspected", ylabel=f"errors found (of {total})")
    put_title(axes, title)
    _plain(axes, "y")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1))
    save(figure, path, bbox_inches="tight")


def learning_curve(path: str | Path, sizes: np.ndarray, by_seed: np.ndarray, fit: Mapping | None) -> None:
    """Draw V against the number of training rows, with the fitted curve and its limit.

    Args:
        path: output file.
        sizes: (M,) numbers of training rows.
        by_seed: (M, S) bits.
        fit: returned by :func:`.curves.fit`, or None.
    """
    figure = new_canvas(7.5, 4.6)
    axes = figure.add_subplot()
    axes.plot(np.repeat(sizes, by_seed.shape[1]), by_seed.ravel(), ".", color=GRAY, label="single seeds")
    axes.plot(sizes, by_seed.mean(1), "o", color=COLORS[0], label="mean")
    if fit:
        x = np.geomspace(sizes.min(), sizes.max(), 100)
        axes.plot(x, fit["limit"] + fit["b"] * x ** -fit["c"], color=COLORS[0], linewidth=1.2, label="a + b n^-c")
    if fit and fit["rows_for_95"]:
        axes.axhline(fit["limit"], color=GRAY, linestyle="--", linewidth=1,
                     label=f"limit {fit['limit']:.3f}, 95 % of it at {fit['rows_for_95']:,.0f} rows")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{int(size):,}" for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel="training rows", ylabel="usable information (bits per row, calibrated)")
    put_title(axes, "Would more data help?")
    _plain(axes, "y")
    axes.legend(frameon=False, fontsize=8.5)
    save(figure, path, bbox_inches="tight")


def _plain(axes, grid: str) -> None:
    axes.grid(axis=grid, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
