"""Figures of embeddings: a map before and after tuning, and distances of same-class and cross-class pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.analysis.canvas import new_canvas, save
from plugins.analysis.metrics.retrieval import unit
from plugins.analysis.palette import COLORS, MARKERS
from plugins.analysis.plots import Band, draw_bands, heat_map

POINTS = 1000  # maximum number of points, the same ones in every panel


def maps(
    path: Path, panels: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str], method: str = "pca"
) -> None:
    """Draw the same texts in two dimensions, one panel per representation.

    Args:
        path: output file; its suffix selects the format.
        panels: {title: (N, d)}.
        labels: (N,) class ids.
        names: names of the classes.
        method: ``pca``, or ``tsne``.
    """
    rows = np.random.default_rng(0).permutation(len(labels))[:POINTS]
    figure = new_canvas(4.6 * len(panels), 4.6)
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, vectors) in zip(axes[0], panels.items(), strict=True):
        places = in_two_dimensions(unit(vectors[rows]), method)
        for number, name in enumerate(names):
            mine = places[labels[rows] == number]
            color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
            axis.scatter(*mine.T, s=12, color=color, marker=marker, alpha=0.6, linewidths=0, label=name)
        axis.set_title(title, fontsize=11)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(f"Do texts of the same class cluster together? ({method.upper()}, {len(rows)} texts)")
    handles, shown = axes[0][0].get_legend_handles_labels()
    if len(names) <= 12:
        figure.legend(handles, shown, loc="lower center", ncol=min(len(names), 6), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    save(figure, path)


def in_two_dimensions(vectors: np.ndarray, method: str) -> np.ndarray:
    """Return places (N, 2) of vectors (N, d)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method == "pca":
        return PCA(2, random_state=0).fit_transform(vectors)
    return TSNE(2, init="pca", perplexity=min(30, (len(vectors) - 1) / 3), random_state=0).fit_transform(vectors)


def similarities(path: Path, tasks: Sequence[str], rows: Sequence[Mapping], method: str, title: str) -> None:
    """Draw how similar source tasks are to target tasks.

    Args:
        rows: rows of ``similarity.csv``.
        method: which of them.
    """
    values = np.full((len(tasks), len(tasks)), np.nan)
    for row in rows:
        if row["method"] == method:
            values[tasks.index(row["target"]), tasks.index(row["source"])] = row["score"]
    heat_map(path, values, tasks, tasks, title, ("target", "source"), label=method)


def task_maps(path: Path, tasks: Sequence[str], panels: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Draw tasks in two dimensions, by classical scaling of 1 - cosine (Torgerson, 1952), one panel per method.

    Args:
        panels: {method: (T, T) cosines of the tasks}.
    """
    figure = new_canvas(4.6 * len(panels), 4.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (method, cosines) in zip(axes, panels.items(), strict=True):
        places = scaled(1 - np.asarray(cosines, float))
        middle, half = (places.max(0) + places.min(0)) / 2, 0.75 * max(np.ptp(places, 0).max(), 1e-6)
        for number, (name, place) in enumerate(zip(tasks, places, strict=True)):
            axis.scatter(*place, color=COLORS[number % len(COLORS)], marker=MARKERS[number % len(MARKERS)], s=40)
            left = place[0] > middle[0]  # so that names stay inside
            offset, side = (-6 if left else 6, 4), "right" if left else "left"
            axis.annotate(name, place, offset, textcoords="offset points", fontsize=9, ha=side)
        axis.set_title(method, fontsize=11)
        axis.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
        axis.locator_params(nbins=5)
    figure.suptitle("Which tasks are near each other? (classical scaling of 1 - cosine)")
    figure.tight_layout()
    save(figure, path)


def scaled(distances: np.ndarray) -> np.ndarray:
    """Return places (N, 2) whose distances approximate those given (N, N), by the two largest eigenvalues."""
    n = len(distances)
    centering = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centering @ distances**2 @ centering)
    places = np.zeros((n, 2))
    places[:, : min(n, 2)] = (vectors * np.sqrt(values.clip(0)))[:, ::-1][:, :2]
    return places


def gains(path: Path, tasks: Sequence[str], means: np.ndarray, errors: np.ndarray, size: str) -> None:
    """Draw the mean gains of targets from sources with their standard errors.

    Args:
        means, errors: (T, T), a row per target; NaN stays white, and targets without a number are left out.
        size: training rows of the targets.
    """
    measured = ~np.isnan(means).all(1)  # (T,)
    if not measured.any():
        return  # every run has collapsed
    note = f"score after the source less the direct score, ± standard error; training rows of the target: {size}"
    title = "Which source task helps which target?"
    targets = [task for task, shown in zip(tasks, measured, strict=True) if shown]
    heat_map(path, means[measured], targets, tasks, title, ("target", "source"), note, "gain", errors[measured])


def pair_distances(path: Path, panels: Mapping[str, np.ndarray], labels: np.ndarray, pairs: int = 20_000) -> None:
    """Draw histograms of the cosines of same-class and cross-class pairs, one panel per representation.

    Args:
        panels: {title: (N, d)}.
        labels: (N,).
        pairs: number of pairs, drawn at random.
    """
    draw = np.random.default_rng(0)
    i, j = draw.integers(0, len(labels), (2, pairs))
    i, j = i[i != j], j[i != j]
    same = labels[i] == labels[j]
    figure = new_canvas(4.2 * len(panels), 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, vectors) in zip(axes[0], panels.items(), strict=True):
        u = unit(vectors)
        cosines = (u[i] * u[j]).sum(1)
        low, high = np.quantile(cosines, [0.002, 1.0])
        bins = np.linspace(low, high, 50)  # Euclidean losses leave a narrow cone
        for chosen, name, color in ((same, "one class", COLORS[0]), (~same, "two classes", COLORS[1])):
            axis.hist(cosines[chosen], bins, density=True, histtype="step", linewidth=1.8, color=color, label=name)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("cosine")
    axes[0][0].set_ylabel("density of pairs")
    axes[0][0].legend(frameon=False)
    figure.suptitle("Are same-class pairs closer than cross-class pairs?")
    figure.tight_layout()
    save(figure, path)


def bands(path: Path, panels: Mapping[str, Mapping[str, Band]], title: str, xlabel: str) -> None:
    """Draw curves with bands of ±1 standard error, one panel per measure.

    Args:
        panels: {label of the y axis: {name: (places, means, errors)}}.
    """
    figure = new_canvas(4.8 * len(panels), 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (label, curves) in zip(axes, panels.items(), strict=True):
        draw_bands(axis, curves, list(curves))
        axis.set(xlabel=xlabel, ylabel=label, xticks=sorted({place for x, _, _ in curves.values() for place in x}))
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncol=len(names), frameon=False)
    figure.suptitle(title, fontsize=11.5, fontweight="bold")
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    save(figure, path)
