"""What the figures look like: places, sizes, colors and scales of all that they draw, compared with ``looks.json``.

The words in a figure are free; only the length of each text is compared. To accept another look: look at the figures,
then run ``python tests/unit/analysis/test_looks.py``, which rewrites ``looks.json`` next to this file.
"""

import contextlib
import functools
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
if str(HERE.parents[1]) not in sys.path:
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2])]
pytest.importorskip("matplotlib")

from matplotlib import collections, colors, image, lines, patches, text  # noqa: E402

from plugins.analysis import canvas, plots, surprise  # noqa: E402
from plugins.analysis.attention import plots as attention_plots  # noqa: E402
from plugins.analysis.long_context import figure as long_context  # noqa: E402
from plugins.analysis.runs import plots as run_plots  # noqa: E402
from plugins.analysis.styles import plots as style_plots  # noqa: E402
from plugins.analysis.styles.effects import Modulation, Plane  # noqa: E402

DRAWING = (canvas, plots, surprise, attention_plots, run_plots, style_plots)

# Toy contents

X = np.array([100.0, 200.0, 300.0])
FALLING, ERRORS = np.array([9.0, 4.0, 3.0]), np.array([0.5, 0.25, 0.1])
HEADS = np.array([[[0.1, 0.7], [0.2, 0.05]]])
WEIGHTS = np.array([[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.1, 0.4]])
RESULT = {"mean": 2.0, "low": 1.9, "high": 2.2, "n": 3}


def band(scale=1.0, points=3):
    return X[:points], scale * FALLING[:points], ERRORS[:points]


def patterns(count, heads=2):
    score = np.linspace(0, 0.7, 2 * heads).reshape(2, heads)
    found = {"score": score, "low": score - 0.01, "high": score + 0.01}
    return {f"{name}_head": found for name in "abcdefgh"[:count]}


def row(times, change=0.0, **more):
    moved = {"from": 1, "mean": change, "low": change - 0.01, "high": change + 0.01}
    return {"times": times, "runs": 1, "sliding": RESULT, "windows": RESULT, "change": moved, **more}


CHANGED = Modulation((0, 2), np.linspace(0.5, 1.7, 12).reshape(2, 2, 3), np.linspace(-1, 0.2, 12).reshape(2, 2, 3))
SAME = Modulation((0,), np.ones((1, 2, 3)), np.zeros((1, 2, 3)))
MANY = [f"run {i}" for i in range(17)]
SURPRISE = {
    "mean": "1.5 bits", "tokens": ["<s>", "a", "b" * 20], "bits": [None, 1.0, 2.0],
    "choices": [[], [("a", 0.5), ("c", 0.25)], [("d", 0.75), ("e", 0.2)]],
}  # fmt: skip
FIGURES = {
    "curves": lambda p: plots.validation_curves(
        p, {"a": (X, FALLING), "b": (X[:2], 2 * FALLING[:2])}, "title", "below", unigram=30.0
    ),
    "bands": lambda p: plots.bands(p, {f"{i}": band(1 + i, 1 if i == 8 else 3) for i in range(9)}, "title", "y"),
    "ranges": lambda p: plots.ranges(
        p, {"g": {"a": (1, 2, 4), "b": (0, 3, 3)}, "h": {"a": (2, 3, 4), "b": (1, 1, 2)}}, "title", "x"
    ),
    "heat map": lambda p: plots.heat_map(
        p, np.array([[1, np.nan], [2, 3.0]]), ["r", "s"], ["c", "d"], "title", ("rows", "columns"), "note", "label",
        np.array([[0.1, 0.2], [np.nan, 0.3]]),
    ),
    "large heat map": lambda p: plots.heat_map(
        p, np.eye(7), list("abcdefg"), list("abcdefg"), "title", ("rows", "columns"), decimals=1
    ),
    "panels": lambda p: run_plots.band_panels(
        p, {"training": {"a": band(), "b": band(2.0)}, "validation": {"a": band(1.5)}}, "title", "y", "note"
    ),
    "many curves": lambda p: run_plots.band_panels(p, {"": {name: band() for name in MANY}}, "title", "y", decimals=1),
    "bars": lambda p: run_plots.bars(
        p, ["a", "b"], {"s": (np.array([1, np.nan]), np.array([0.1, np.nan])), "t": (X[:2], np.ones((2, 2)))}, "title",
        "x", "note", (0.5, "chance"),
    ),
    "one series": lambda p: run_plots.bars(p, ["a", "b", "c"], {"s": (np.arange(3.0), np.zeros(3))}, "title", "x"),
    "heads": lambda p: attention_plots.attention_grid(p, list("abc"), [WEIGHTS[None, None].repeat(2, 1)] * 2, "title"),
    "heads of a long text": lambda p: attention_plots.attention_grid(
        p, ["ab"] * 17, [np.ones((1, 1, 17, 17))], "title"
    ),
    "head": lambda p: attention_plots.attention_map(p, ["a", "b", "c"], WEIGHTS, "title"),
    "head on words": lambda p: attention_plots.attention_map(p, ["word"] * 30, np.ones((30, 30)), "title"),
    "head from the right": lambda p: attention_plots.attention_map(p, list("אבג"), WEIGHTS, "title"),
    "patterns": lambda p: attention_plots.pattern_maps(p, patterns(5), "title"),
    "patterns of many heads": lambda p: attention_plots.pattern_maps(p, patterns(4, 13), "title"),
    "plane": lambda p: style_plots.plane(
        p, Plane(np.array([[0, 1], [2, 3], [4, 0.0]]), "PCA", (0.7, 0.2)), ["a", "b", "a"], "title", styles=["b"]
    ),
    "named points": lambda p: style_plots.plane(
        p, Plane(np.array([[0.0, 1], [2, 3]]), "PCA", (1.0,)), ["a", "b"], "title", named=True
    ),
    "t-SNE": lambda p: style_plots.plane(p, Plane(np.eye(40)[:, :2], "t-SNE"), ["a"] * 40, "title"),
    "ribbon": lambda p: style_plots.ribbon(
        p, "ab\nde", np.array([[0.2, 0.8], [0.5, 0.5], [1, 0], [0, 1], [0.3, 0.7]]), ["s", "t"], "title", width=3
    ),
    "wide ribbon": lambda p: style_plots.ribbon(p, "a" * 80, np.full((80, 7), 1 / 7), list("abcdefg"), "title"),
    "modulation": lambda p: style_plots.modulation(p, CHANGED, ["s", "t"]),
    "no modulation": lambda p: style_plots.modulation(p, SAME, ["s", "t"]),
    "strength": lambda p: style_plots.modulation_strength(p, CHANGED, ["s", "t"]),
    "moved attention": lambda p: style_plots.attention_differences(p, HEADS.repeat(5, 0), list("vwxyz")),
    "unmoved attention": lambda p: style_plots.attention_differences(p, np.zeros((1, 1, 2)), ["s"]),
    "a head under styles": lambda p: style_plots.attention_of_head(
        p, np.stack([WEIGHTS, WEIGHTS.T, np.eye(3)]), list("a\nb"), list("xyz"), (1, 0)
    ),
    "an unmoved head": lambda p: style_plots.attention_of_head(p, WEIGHTS[None], list("abc"), ["s"], (0, 0)),
    "long context": lambda p: long_context.draw(
        p, {"a": [row(1), row(4, 0.3)], "b": [row(1), {"times": 4, "runs": 1, "limit": 8}]}
    ),
    "surprise": lambda p: surprise.draw(p, SURPRISE, "title"),
}  # fmt: skip


# Descriptions: one line for each artist; artists in a row that differ only in their coordinates share a line


def rounded(value):
    """Return numbers with four digits, and long arrays as their length, minimum, maximum and mean."""
    if isinstance(value, np.ma.MaskedArray):
        value = value.astype(float).filled(-1)
    if isinstance(value, np.ndarray | list | tuple):
        array = np.array(value, float) if is_matrix(value) else np.zeros(0)
        if array.size > LONG:
            return [array.size, *(rounded(float(f(array))) for f in (np.nanmin, np.nanmax, np.nanmean))]
        return [rounded(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, float | int | np.number) and not isinstance(value, bool):
        return float(f"{value:.4g}") + 0.0 if np.isfinite(value) else "nan"
    return value if isinstance(value, str | bool) or value is None else type(value).__name__


def is_matrix(value):
    """Return whether a value is an array, or nested lists of numbers with one shape."""
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except ValueError:  # lists of different lengths
        return False


def code(value):
    return " ".join(colors.to_hex(one, keep_alpha=True) for one in np.atleast_2d(colors.to_rgba_array(value)))


LONG = 12  # numbers
USUAL = {
    "fontweight": "normal", "fontfamily": ["sans-serif"], "rotation": 0, "visible": True, "parse_math": True,
    "linestyle": "-", "marker": "", "markersize": 6, "markeredgewidth": 1, "clip_on": True, "alpha": None,
}  # fmt: skip
LOOKS = {
    text.Text: ("fontsize", "fontweight", "fontfamily", "rotation", "ha", "va", "visible", "parse_math"),
    lines.Line2D: ("linestyle", "linewidth", "marker", "markersize", "markeredgewidth", "clip_on", "alpha"),
    patches.Patch: ("linewidth", "fill", "alpha"),
    collections.Collection: ("linewidth", "alpha"),
    image.AxesImage: ("clim", "interpolation", "extent"),
}


def described(artist):
    """Return the look of an artist, and its coordinates and the length of its text."""
    look, where = [type(artist).__name__], []
    for kind, names in LOOKS.items():
        if isinstance(artist, kind):
            found = {name: rounded(getattr(artist, f"get_{name}")()) for name in names}
            look += [f"{name} {value}" for name, value in found.items() if value != USUAL.get(name, "")]
    if isinstance(artist, text.Text):
        look.append(code(artist.get_color()))
        where += [[len(artist.get_text())], artist.get_position()]
    if isinstance(artist, text.Annotation):
        look += map(str, rounded([artist.xycoords, artist.anncoords, artist.get_annotation_clip()]))
        where.append(artist.xy)
    if isinstance(artist, lines.Line2D):
        look.append(code(artist.get_color()))
        where.append(np.asarray(artist.get_xydata(), float))
    if isinstance(artist, patches.Patch):
        look += [code(artist.get_facecolor()), code(artist.get_edgecolor())]
        where.append(artist.get_patch_transform().transform_path(artist.get_path()).vertices)
    if isinstance(artist, collections.Collection):
        look += [code(artist.get_facecolor()), code(artist.get_edgecolor())]
        where += [getattr(artist, "get_sizes", list)(), artist.get_offsets(), *(p.vertices for p in artist.get_paths())]
    if isinstance(artist, image.AxesImage):
        norm = artist.norm
        look += [artist.cmap.name, type(norm).__name__, str(getattr(norm, "gamma", "")), str(norm.clip)]
        look.append(code(artist.cmap.get_bad()))
        where.append(artist.get_array())
    return " ".join(look), rounded(np.concatenate([np.ravel(np.ma.filled(part, -1)) for part in where]))


def all_of(artists):
    """Return {look: coordinates of the artists that have it}."""
    found = {}
    for look, where in map(described, artists):
        found.setdefault(look, []).append(where)
    return {look: rounded(places) for look, places in found.items()}


TICKS = ("labelsize", "length", "pad", "left", "right", "labelleft", "labelright", "labelbottom")


def of_axis(axis):
    params = {name: rounded(value) for name, value in axis.get_tick_params().items() if name in TICKS}
    ticks = rounded([axis.get_ticklocs(), axis.get_ticklocs(minor=True)])
    grid = [(described(line)[0], line.get_visible()) for line in axis.get_gridlines()[:1]]
    labels = [described(label)[0] for label in axis.get_ticklabels()[:1]]
    label = (
        [described(axis.label)[0], *rounded([axis.labelpad, len(axis.label.get_text())])]
        if axis.label.get_text()
        else ""
    )
    return [axis.get_scale(), axis.get_ticks_position(), params, ticks, labels, grid, label]


def of_legend(legend):
    if legend is None:
        return None
    place = rounded(legend.get_bbox_to_anchor()._bbox.bounds)
    return [legend._loc_real, legend._ncols, legend.get_frame_on(), place, all_of(legend.get_texts()),
            len(legend.get_title().get_text())]  # fmt: skip


def of_axes(axes):
    bar = {name: rounded(value) for name, value in getattr(axes, "_colorbar_info", {}).items() if name != "parents"}
    shared = len(axes.get_shared_x_axes().get_siblings(axes)), len(axes.get_shared_y_axes().get_siblings(axes))
    artists = [*axes.texts, *axes.lines, *axes.patches, *axes.collections, *axes.images]
    titles = [title for title in (axes.title, axes._left_title) if title.get_text()]
    return {
        "place": rounded([round(edge, 3) for edge in axes.get_position().bounds]), "visible": axes.get_visible(),
        "axis on": axes.axison, "x": [rounded(axes.get_xlim()), of_axis(axes.xaxis)],
        "y": [rounded(axes.get_ylim()), of_axis(axes.yaxis)], "aspect": rounded(axes.get_aspect()), "shared": shared,
        "below": axes.get_axisbelow(), "bar": bar, "spines": [spine.get_visible() for spine in axes.spines.values()],
        "legend": of_legend(axes.get_legend()), "titles": all_of(titles),
        "artists": all_of(artists),
    }  # fmt: skip


def of_figure(figure, options):
    engine = figure.get_layout_engine()
    return {
        "size": rounded(figure.get_size_inches()), "dpi": figure.dpi,
        "layout": None if engine is None else [type(engine).__name__, {k: rounded(v) for k, v in engine.get().items()}],
        "texts": all_of(figure.texts), "legends": [of_legend(legend) for legend in figure.legends],
        "saved with": sorted(options), "axes": [of_axes(axes) for axes in figure.axes],
    }  # fmt: skip


def look(name):
    """Return the description of a figure, which is drawn but not written."""
    kept = []
    with contextlib.ExitStack() as stack:
        for module in DRAWING:
            stack.enter_context(
                mock.patch.object(module, "save", lambda figure, _, **options: kept.append((figure, options)))
            )
        FIGURES[name](Path("unwritten.png"))
    return json.loads(json.dumps(of_figure(*kept[0])))


@functools.cache
def looks():
    return json.loads((HERE / "looks.json").read_text(encoding="utf-8"))


def differences(found, expected, where=""):
    """Yield the places where two descriptions differ."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for key in found:
            yield from differences(found[key], expected[key], f"{where}/{key}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for i, pair in enumerate(zip(found, expected, strict=True)):
            yield from differences(*pair, f"{where}/{i}")
    elif isinstance(found, float) and isinstance(expected, float):
        if abs(found - expected) > 1e-3 * max(abs(expected), 1e-3):
            yield where, found, expected
    elif found != expected:
        yield where, found, expected


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_did(name):
    assert list(differences(look(name), looks()[name])) == []


if __name__ == "__main__":
    found = {name: look(name) for name in FIGURES}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in found.items())
    (HERE / "looks.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")
