"""What the figures of embeddings show, read from the drawn objects."""

import numpy as np
import pytest

from plugins.embeddings import figures

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, and the arguments of heat maps."""
    found = []
    monkeypatch.setattr(figures, "save", lambda figure, path: found.append(figure))
    monkeypatch.setattr(figures, "heat_map", lambda *given, **named: found.append((given, named)))
    return found


def test_a_map_has_the_same_texts_in_every_panel(drawn, monkeypatch):
    monkeypatch.setattr(figures, "POINTS", 20)
    random = np.random.default_rng(0)
    vectors, labels = random.normal(size=(30, 4)), np.arange(30) % 2
    figures.maps("x.png", {"before": vectors, "after": 7 * vectors}, labels, ["river", "garden"])
    first, second = drawn[0].axes
    assert [axis.get_title() for axis in drawn[0].axes] == ["before", "after"]
    places = [np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections]) for axis in (first, second)]
    assert places[0].shape == (20, 2) and len(first.collections) == 2
    np.testing.assert_allclose(places[0], places[1], atol=1e-4)  # of unit length
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["river", "garden"]
    assert "PCA, 20 texts" in drawn[0].get_suptitle() and not first.get_xticks().size and not first.get_yticks().size
    figures.maps("x.png", {"one": vectors}, labels, [f"c{i}" for i in range(13)])
    assert drawn[1].legends == [] and not drawn[0].legends[0].get_frame_on()
    figures.maps("x.png", {"one": vectors}, labels, [f"c{i}" for i in range(12)])
    assert len(drawn[2].legends) == 1


def test_the_plane_of_a_map_has_the_largest_variances():
    vectors = np.random.default_rng(0).normal(size=(40, 3)) * [1, 9, 3]
    found = figures.in_two_dimensions(vectors, "pca")
    assert abs(np.corrcoef(found[:, 0], vectors[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(found[:, 1], vectors[:, 2])[0, 1]) > 0.9
    assert figures.in_two_dimensions(vectors[:7], "tsne").shape == (7, 2)


def test_similarities_are_those_of_the_method_with_targets_as_rows(drawn):
    columns = ("method", "target", "source", "score")
    rows = [dict(zip(columns, row, strict=True)) for row in
            (("m", "a", "b", 0.5), ("m", "b", "a", 0.7), ("n", "b", "a", 9))]  # fmt: skip
    figures.similarities("x.png", ["a", "b"], rows, "m", "Similar?")
    (_, values, first, second, title, names), named = drawn[0]
    np.testing.assert_array_equal(values, [[np.nan, 0.5], [0.7, np.nan]])
    assert (first, second, title, names) == (["a", "b"], ["a", "b"], "Similar?", ("target", "source"))
    assert named == {"label": "m"}


def test_tasks_on_a_map_are_named_and_as_far_as_their_cosines(drawn):
    figures.task_maps("x.png", ["a", "b", "c"], {"one": [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]], "two": np.eye(3)})
    first, second = drawn[0].axes
    places = np.concatenate([np.asarray(c.get_offsets()) for c in first.collections])
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    np.testing.assert_allclose(distances, [[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]], atol=1e-6)
    assert [text.get_text() for text in first.texts] == ["a", "b", "c"] and second.get_title() == "two"
    assert "1 - cosine" in drawn[0].get_suptitle() and first.get_aspect() == 1
    assert figures.scaled(np.zeros((1, 1))).tolist() == [[0, 0]]


def test_targets_without_a_gain_are_left_out(drawn):
    means, errors = np.array([[np.nan, 0.1], [np.nan, np.nan]]), np.array([[np.nan, 0.02], [np.nan, np.nan]])
    figures.gains("x.png", ["a", "b"], means, errors, "1000")
    (_, values, targets, sources, _, names, note, label, shown), _ = drawn[0]
    np.testing.assert_array_equal(values, means[:1])
    np.testing.assert_array_equal(shown, errors[:1])
    assert (targets, sources, names, label) == (["a"], ["a", "b"], ("target", "source"), "gain") and "1000" in note
    figures.gains("x.png", ["a"], means[1:, 1:], errors[1:, 1:], "full")
    assert len(drawn) == 1


def test_pairs_of_one_class_and_of_two_have_their_own_histograms(drawn):
    """Classes are orthogonal: cosines are 1 within a class, 0 across."""
    labels = np.arange(40) % 2
    figures.pair_distances("x.png", {"one": 3 * np.eye(2)[labels], "two": np.eye(2)[labels]}, labels, pairs=500)
    first = drawn[0].axes[0]
    ends = {}
    for patch in first.patches:
        x, y = patch.get_xy().T
        ends[patch.get_label()] = (x[y > 0].min(), x[y > 0].max())
        assert np.isclose(abs(np.trapezoid(y, x)), 1, atol=0.6), "a density"
    assert ends["one class"][0] > 0.9 and ends["two classes"][1] < 0.1
    assert first.get_xlabel() == "cosine" and "density" in first.get_ylabel() and not first.get_legend().get_frame_on()
    assert [axis.get_title() for axis in drawn[0].axes] == ["one", "two"] and "?" in drawn[0].get_suptitle()


def test_curves_have_bands_and_a_tick_for_each_place(drawn):
    curve = (np.array([0.0, 0.2]), np.array([0.9, 0.8]), np.array([0.0, 0.1]))
    other = (np.array([0.0, 0.3]), np.array([0.9, 0.7]), np.array([0.0, 0.0]))
    figures.bands(
        "x.png", {"accuracy": {"random": curve, "largest": other}, "scale": {"random": curve}}, "Title?", "share"
    )
    first, second = drawn[0].axes
    assert (first.get_xlabel(), first.get_ylabel(), second.get_ylabel()) == ("share", "accuracy", "scale")
    assert first.get_xticks().tolist() == [0, 0.2, 0.3] and drawn[0].get_suptitle() == "Title?"
    assert first.lines[0].get_xydata().tolist() == [[0, 0.9], [0.2, 0.8]]
    heights = first.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(0.7), pytest.approx(0.9))
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["random", "largest"]
    assert not drawn[0].legends[0].get_frame_on()


def test_every_panel_has_the_same_width(monkeypatch):
    widths = []

    def canvas(width, height):
        widths.append(width)
        raise InterruptedError  # before anything is drawn

    monkeypatch.setattr(figures, "new_canvas", canvas)
    labels = np.arange(9) % 2
    draws = [lambda panels: figures.maps("x.png", panels, labels, ["a", "b"]),
             lambda panels: figures.pair_distances("x.png", panels, labels),
             lambda panels: figures.task_maps("x.png", ["a", "b"], panels),
             lambda panels: figures.bands("x.png", panels, "Title?", "x")]  # fmt: skip
    for draw in draws:
        for panels in ({"one": None}, {"one": None, "two": None, "three": None}):
            with pytest.raises(InterruptedError):
                draw(panels)
    assert len(widths) == 8 and widths[1::2] == pytest.approx([3 * width for width in widths[::2]])
