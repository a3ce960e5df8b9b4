"""Figures of an inspection: divergence of classes, words that give labels away, and the information in a few words."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plugins.analysis.canvas import new_canvas, put_title, round_ticks, save
from plugins.analysis.palette import COLORS, FAINT, GRAY, GRID
from plugins.analysis.plots import heat_map

from .lexical import Association, Probe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 14  # words labeled in the figure of words


def draw(found: dict, folder: str | Path) -> list[Path]:
    """Draw the results of :func:`.inspection.inspect`, and return the paths of the figures.

    Raises:
        UserError: matplotlib is not installed, or a file cannot be written.
    """
    folder = Path(folder)
    paths = [folder / f"{name}.png" for name in ("divergence", "words", "probe")]
    classes(paths[0], found["divergence"].above_floor, found["classes"])
    priors = np.array([found["sizes"][0]["classes"][name] for name in found["classes"]], float)
    words(paths[1], found["associations"], found["words"].vocabulary, found["classes"], priors / priors.sum())
    probe(paths[2], found["probe"])
    return paths


def classes(path: Path, above_floor: np.ndarray, names: list[str]) -> None:
    """Draw the divergence of each pair of classes above the chance level, (C, C) bits, as a heat map."""
    values = above_floor.copy()
    np.fill_diagonal(values, np.nan)
    note = "Jensen-Shannon divergence at equal size, less that of shuffled labels"
    heat_map(path, values, names, names, "Which classes use different words?", ("class", "class"), decimals=4,
             label="bits above the floor", note=note, low=min(0.0, float(np.nanmin(values))))  # fmt: skip


def words(path: Path, found: Association, vocabulary: list[str], names: list[str], prior: np.ndarray,
          q: float = 0.05) -> None:  # fmt: skip
    """Draw the label frequency given each word relative to the prior, and name the most informative words.

    Args:
        found: :class:`.lexical.Association`.
        vocabulary: V words.
        names: names of the C classes.
        prior: class frequencies, (C,).
        q: false discovery rate below which a word is colored.
    """
    figure = new_canvas(9, 5.2)
    axes = figure.add_subplot()
    judged = np.flatnonzero(~np.isnan(found.p[:, 0]))
    kind = np.nan_to_num(found.z[judged], nan=-np.inf).argmax(1)  # the label that each word indicates
    count, share = found.count[judged], found.p[judged, kind] - prior[kind]
    strong = found.q[judged, kind] < q
    axes.scatter(count[~strong], share[~strong], s=6, color=FAINT, label="not significant", linewidths=0)
    for k, name in enumerate(names[: len(COLORS)]):
        own = strong & (kind == k)
        axes.scatter(count[own], share[own], s=14, color=COLORS[k], label=f"indicates {name}", linewidths=0)
    if strong.any():  # the boundary of significance
        least = np.abs(found.z[judged, kind][strong]).min()
        x = np.geomspace(count.min(), count.max(), 200)
        for k, spread in {round(float(p * (1 - p)), 6): (k, p * (1 - p)) for k, p in enumerate(prior)}.values():
            axes.plot(x, least * np.sqrt(spread / x), color=GRAY, linewidth=0.8, linestyle="--",
                      label=f"|z| = {least:.1f}" if k == len(prior) - 1 else None)  # fmt: skip
    if len(judged):  # of no values, there is no logarithm
        axes.set_xscale("log")
        round_ticks(axes.xaxis)
    axes.set(xlabel="texts with the word (log scale)", ylabel="share of the label among these texts minus its prior")
    score = np.where(strong, found.z[judged, kind], -np.inf)
    name_strongest(axes, count, share, score, kind, [vocabulary[i] for i in judged], len(names))
    put_title(axes, "Which words give the label away?", f"colored: false discovery rate below {100 * q:g} %")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    save(figure, path, bbox_inches="tight")


def name_strongest(axes: "Axes", count: np.ndarray, share: np.ndarray, score: np.ndarray, kind: np.ndarray,
                   vocabulary: Sequence[str], classes: int) -> None:  # fmt: skip
    """Label the points of the words with the highest scores, without labels that would overlap.

    Of words with the same score, one with a letter comes before marks.

    Args:
        axes: the plot.
        count, share: (W,) positions of the points.
        score: (W,) z-scores, -inf for words without a name.
        kind: (W,) class that each word indicates.
        vocabulary: W words.
        classes: C.
    """
    placed: list[np.ndarray] = []
    named = np.zeros(classes, int)  # of each class, so that a frequent one does not take all
    marks = [not re.search(r"\w", word) for word in vocabulary]
    for place in np.lexsort((np.array(marks), -score)).tolist():
        spot = axes.transAxes.inverted().transform(axes.transData.transform((count[place], share[place])))
        if (np.isfinite(score[place]) and named[kind[place]] < max(2, NAMED // classes)
                and all((np.abs(spot - other) > (0.13, 0.035)).any() for other in placed)):  # fmt: skip
            placed.append(spot)
            named[kind[place]] += 1
            word = vocabulary[place]
            word = repr(word) if marks[place] else word  # a mark would look like a point
            axes.annotate(word, (count[place], share[place]), (3, 3), fontsize=8,
                          textcoords="offset points")  # fmt: skip
        if len(placed) == NAMED or not np.isfinite(score[place]):
            break


def probe(path: Path, found: Probe) -> None:
    """Draw the information in a few words, compared with random words and all words.

    Args:
        found: :class:`.lexical.Probe`.
    """
    figure = new_canvas(7.5, 4.6)
    axes = figure.add_subplot()
    axes.axhline(found.all_bits, color=GRAY, linestyle="--", linewidth=1, label=f"all words: {found.all_bits:.3f} bits")
    axes.plot(found.sizes, found.bits, marker="o", color=COLORS[0], label="most informative words")
    axes.plot(found.sizes, found.random_bits, marker="s", color=COLORS[1], label="random words of equal frequency")
    if len(found.sizes):
        axes.set_xscale("log")
    axes.set_xticks(found.sizes, [str(size) for size in found.sizes])
    axes.minorticks_off()
    axes.set(xlabel="words", ylabel="usable information (bits per row)")
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    put_title(axes, "How much of the label do a few words predict?", "logistic regression, out of fold, calibrated")
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path, bbox_inches="tight")
