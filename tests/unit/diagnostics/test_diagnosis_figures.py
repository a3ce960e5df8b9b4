"""What the figures of a diagnosis show, read from the drawn objects."""

import numpy as np
import pytest

from plugins.diagnostics import diagnosis_figures, inspection_figures
from plugins.diagnostics.lexical import Association, Probe

pytest.importorskip("matplotlib")


@pytest.fixture
def axes(monkeypatch):
    """A function that draws with a function of a module and returns the axes."""

    def draw(function, *arguments, module=diagnosis_figures, **named):
        saved = []
        monkeypatch.setattr(module, "save", lambda figure, path, **options: saved.append((figure, path)))
        getattr(module, function)("x.png", *arguments, **named)
        [(figure, path)] = saved
        assert path == "x.png"
        return figure.axes

    return draw


def measured(v, low, high, rows=5):
    return {"V_calibrated": v, "V_calibrated_interval": [low, high], "rows": rows}


def texts(axes):
    return [text.get_text() for text in axes.texts[:-1]]  # the last is the line below the title


def points(collection):
    return np.asarray(collection.get_offsets()).tolist()


def lines(axes):
    return {line.get_label(): np.asarray(line.get_xydata(), float).tolist() for line in axes.lines}


def test_bars_of_inputs_have_their_intervals_and_the_entropy_as_bound(axes):
    inputs = {"full": measured(0.5, 0.4, 0.7), "words:/a/b/list.txt": measured(-0.1, -0.2, 0.0)}
    [drawn] = axes("information", inputs, 0.9)
    assert [bar.get_width() for bar in drawn.patches] == [0.5, -0.1]
    ends = [path.vertices[:, 0].round(9).tolist() for path in drawn.collections[0].get_paths()]
    assert ends == [[0.4, 0.7], [-0.2, 0.0]]
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["full", "words:list.txt"]
    assert texts(drawn) == ["0.500", "-0.100", "H(Y) 0.900"] and [text.xy[0] for text in drawn.texts[:-1]] == [
        0.7,
        0,
        0.9,
    ]
    assert [line.get_xdata()[0] for line in drawn.lines[-2:]] == [0.9, 0]  # the others are ends of intervals
    assert drawn.yaxis_inverted()


def test_a_map_of_few_rows_shows_each_and_its_correctness(axes):
    found = {"variability": np.array([0.1, 0.2, np.nan, 0.3]), "confidence": np.array([0.9, 0.5, np.nan, 0.2]),
             "correctness": np.array([3, 2, np.nan, 0])}  # fmt: skip
    drawn, bar = axes("data_map", found, np.array([False, True, True, True]), "disagree")
    every, marked = drawn.collections
    assert points(every) == [[0.1, 0.9], [0.2, 0.5], [0.3, 0.2]] and every.get_array().tolist() == [3, 2, 0]
    assert points(marked) == [[0.2, 0.5], [0.3, 0.2]] and "correctness" in bar.get_ylabel()
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["disagree"]
    assert "learn" in drawn.get_title() and "held-out" not in drawn.get_title()
    for nothing in (None, np.zeros(4, bool)):
        drawn, _ = axes("data_map", found, nothing, held_out=True)
        assert len(drawn.collections) == 1 and drawn.get_legend() is None and "held-out" in drawn.get_title()


def test_a_map_of_many_rows_is_a_density(axes, monkeypatch):
    monkeypatch.setattr(diagnosis_figures, "MANY", 3)
    found = {name: np.array([0.1, 0.1, 0.1, 0.5]) for name in ("variability", "confidence", "correctness")}
    drawn, bar = axes("data_map", found)
    assert sorted(drawn.collections[0].get_array().tolist()) == [1, 3] and "rows" in bar.get_ylabel()
    found = {name: values[:3] for name, values in found.items()}
    assert "correctness" in axes("data_map", found)[1].get_ylabel()


def test_slices_have_points_intervals_and_sizes(axes):
    slices = {"class": {"a": measured(0.3, 0.1, 0.4, 1234)}, "length": {"1 to 5": measured(-0.2, -0.3, 0.0, 6)}}
    [drawn] = axes("by_slice", slices)
    shown = [line.get_xydata().tolist() for line in drawn.lines]
    assert shown[:4] == [[[0.1, 0], [0.4, 0]], [[0.3, 0]], [[-0.3, 1], [0.0, 1]], [[-0.2, 1]]]
    assert texts(drawn) == ["1,234 rows", "6 rows"] and shown[4][0][0] == 0 and drawn.yaxis_inverted()
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["class: a", "length: 1 to 5"]
    [drawn] = axes("by_slice", {"s": {str(i): measured(0, 0, 0) for i in range(50)}})
    assert len(texts(drawn)) == 40


def test_epochs_have_both_values_and_a_line_for_each_seed(axes):
    better = {"V_calibrated": 0.5, "V_calibrated_by_seed": [0.4, 0.6]}
    rows = [{"epoch": e, "V": -e, "V_by_seed": [-e - 1, -e + 1], **better} for e in (1, 2)]
    [drawn] = axes("epochs", rows)
    found = [line.get_xydata().tolist() for line in drawn.lines]
    assert found[:3] == [[[1, -1], [2, -2]], [[1, -2], [2, -3]], [[1, 0], [2, -1]]]
    assert found[3:6] == [[[1, 0.5], [2, 0.5]], [[1, 0.4], [2, 0.4]], [[1, 0.6], [2, 0.6]]]
    assert found[6][0][1] == 0 and [text.get_text() for text in drawn.get_legend().get_texts()] == ["raw", "calibrated"]
    assert drawn.get_xticks().tolist() == [1, 2]


def test_equal_seeds_share_all_their_hardest_rows(axes):
    pvi = np.stack([np.arange(100.0)] * 2)
    [drawn] = axes("stability", pvi)
    found = lines(drawn)
    shares = [1, 2, 5, 10, 20, 50]  # half a row is none
    np.testing.assert_allclose(found["another seed"], [[share, 100] for share in shares])
    np.testing.assert_allclose(found["chance"], [[share, share] for share in shares])
    assert drawn.get_xscale() == "log" and drawn.get_ylim() == (0, 100)


def test_errors_found_are_counted_from_the_first_row(axes):
    [drawn] = axes("precision", {"loop": np.array([1, 1, 2]), "random": np.array([0, 0, 1])}, 7, "Which?")
    assert lines(drawn) == {"loop": [[1, 1], [2, 1], [3, 2]], "random": [[1, 0], [2, 0], [3, 1]]}
    assert [line.get_linestyle() for line in drawn.lines] == ["-", "--"]
    assert "7" in drawn.get_ylabel() and "Which?" in drawn.get_title() and drawn.get_legend() is not None


def test_a_learning_curve_has_its_limit_only_if_it_is_in_reach(axes):
    sizes, by_seed = np.array([100, 400]), np.array([[0.1, 0.3], [0.5, 0.7]])
    fit = {"limit": 1.0, "b": -8.0, "c": 0.5, "rows_for_95": 25600.0}
    [drawn] = axes("learning_curve", sizes, by_seed, fit)
    found = lines(drawn)
    assert found["single seeds"] == [[100, 0.1], [100, 0.3], [400, 0.5], [400, 0.7]]
    np.testing.assert_allclose(found["mean"], [[100, 0.2], [400, 0.6]])
    np.testing.assert_allclose([found["a + b n^-c"][0], found["a + b n^-c"][-1]], [[100, 0.2], [400, 0.6]])
    [limit] = [name for name in found if "limit" in name]
    assert "1.000" in limit and "25,600" in limit and [place[1] for place in found[limit]] == [1, 1]
    far = lines(axes("learning_curve", sizes, by_seed, fit | {"rows_for_95": None})[0])
    assert "a + b n^-c" in far and not any("limit" in name for name in far)
    assert set(lines(axes("learning_curve", sizes, by_seed, None)[0])) == {"single seeds", "mean"}
    assert [label.get_text() for label in drawn.get_xticklabels()] == ["100", "400"] and drawn.get_xscale() == "log"


def association(count, p, z, q):
    nothing = np.zeros_like(p)
    return Association(np.array(count), np.array(p), np.array(z), np.array(q), nothing, nothing, nothing)


def test_words_are_colored_by_the_label_that_they_indicate_and_named(axes):
    found = association(
        [100, 50, 25, 3], [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [np.nan] * 2],
        [[8.0, -8], [-4.0, 4], [0.1, -0.1], [np.nan] * 2], [[1e-9, 1e-9], [0.01, 0.01], [0.9, 0.9], [np.nan] * 2],
    )  # fmt: skip
    [drawn] = axes("words", found, ["good", "!", "the", "rare"], ["no", "yes"], np.array([0.5, 0.5]),
                   module=inspection_figures)  # fmt: skip
    weak, no, yes = (points(collection) for collection in drawn.collections)
    np.testing.assert_allclose(weak, [[25, 0.0]])
    np.testing.assert_allclose([*no, *yes], [[100, 0.4], [50, 0.3]])
    assert texts(drawn) == ["good", "'!'"] and drawn.get_xscale() == "log"
    [bound] = lines(drawn).items()  # |z| = 4 at 25 to 100 texts: 4 sqrt(.25 / n)
    assert bound[0] == "|z| = 4.0"
    np.testing.assert_allclose([bound[1][0], bound[1][-1]], [[25, 0.4], [100, 0.2]])
    labels = [text.get_text() for text in drawn.get_legend().get_texts()]
    assert labels == ["not significant", "indicates no", "indicates yes", "|z| = 4.0"]


def test_the_probe_has_all_words_as_a_line(axes):
    bits, random_bits, nothing = np.array([0.1, 0.2]), np.array([0.0, 0.05]), np.zeros(2)
    found = Probe(np.array([10, 40]), bits, nothing, random_bits, nothing, 0.3, 0.8, 99, 0.5)
    [drawn] = axes("probe", found, module=inspection_figures)
    found = lines(drawn)
    assert found["most informative words"] == [[10, 0.1], [40, 0.2]]
    assert found["random words of equal frequency"] == [[10, 0.0], [40, 0.05]]
    assert [place[1] for place in found["all words: 0.300 bits"]] == [0.3, 0.3]
    assert [label.get_text() for label in drawn.get_xticklabels()] == ["10", "40"]


def test_divergences_are_colored_from_zero(monkeypatch):
    asked = []
    monkeypatch.setattr(
        inspection_figures, "heat_map", lambda path, values, *rest, **named: asked.append((values, named))
    )
    for value in (0.02, -0.01):
        inspection_figures.classes("x.png", np.array([[0, value], [value, 0]]), ["a", "b"])
    assert [named["low"] for _, named in asked] == [0, -0.01]
    np.testing.assert_array_equal(asked[0][0], [[np.nan, 0.02], [0.02, np.nan]])


def test_axes_are_named_with_their_units_and_titles_are_questions(axes):
    slices = {"class": {"a": measured(0.3, 0.1, 0.4)}}
    points = {name: np.array([0.1, 0.2]) for name in ("variability", "confidence", "correctness")}
    row = {"epoch": 1, "V": 0, "V_by_seed": [0], "V_calibrated": 0, "V_calibrated_by_seed": [0]}
    probe = Probe(np.array([10, 40]), *[np.zeros(2)] * 4, 0.3, 0.8, 99, 0.5)
    found = association([100, 50], [[0.9, 0.1], [0.2, 0.8]], [[8.0, -8], [-4.0, 4]], [[0.01] * 2] * 2)
    for function, arguments, x, y, module in (
        ("information", (slices["class"], 0.9), "bits per row", "", diagnosis_figures),
        ("by_slice", (slices,), "bits per row", "", diagnosis_figures),
        ("data_map", (points,), "variability", "probability", diagnosis_figures),
        ("epochs", ([row],), "epochs", "bits per row", diagnosis_figures),
        ("stability", (np.arange(200.0).reshape(2, 100),), "%", "%", diagnosis_figures),
        ("precision", ({"loop": np.array([1])}, 7, "Which?"), "rows", "errors", diagnosis_figures),
        ("learning_curve", (np.array([1, 2]), np.ones((2, 1)), None), "rows", "bits per row", diagnosis_figures),
        ("words", (found, ["good", "bad"], ["no", "yes"], np.array([0.5, 0.5])), "texts", "label", inspection_figures),
        ("probe", (probe,), "words", "bits per row", inspection_figures),
    ):  # fmt: skip
        drawn = axes(function, *arguments, module=module)[0]
        assert x in drawn.get_xlabel() and y in drawn.get_ylabel(), function
        assert "?" in drawn.get_title() or any("?" in text.get_text() for text in drawn.texts), function
        assert not drawn.spines["top"].get_visible() and not drawn.spines["right"].get_visible(), function
        assert drawn.get_axisbelow() is True or function in ("probe",), function
        assert drawn.get_legend() is None or not drawn.get_legend().get_frame_on(), function
        grid = [line for axis in (drawn.xaxis, drawn.yaxis) for line in axis.get_gridlines() if line.get_visible()]
        assert grid, function


def test_a_figure_grows_with_its_rows(axes):
    def height(function, *arguments):
        return axes(function, *arguments)[0].figure.get_size_inches()[1]

    one, three = ({str(i): measured(0.3, 0.1, 0.4) for i in range(n)} for n in (1, 3))
    for function, few, more in (
        ("information", (one, 1.0), (three, 1.0)),
        ("by_slice", ({"x": one},), ({"x": three},)),
    ):
        added = (height(function, *more) - height(function, *few)) / 2
        assert 0.2 < added < 0.6 and height(function, *few) > 3 * added
