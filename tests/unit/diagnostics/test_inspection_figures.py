"""What the figures of an inspection draw; see also test_diagnosis_figures.py."""

import numpy as np
import pytest

from plugins.diagnostics import inspection_figures
from plugins.diagnostics.lexical import Association

pytest.importorskip("matplotlib")


def test_figures_are_drawn_from_the_results_of_an_inspection(tmp_path, monkeypatch):
    calls = {}
    for name in ("classes", "words", "probe"):
        monkeypatch.setattr(
            inspection_figures, name, lambda path, *given, name=name: calls.update({name: (path, given)})
        )
    words, divergence = type("W", (), {"vocabulary": ["a"]}), type("D", (), {"above_floor": "bits"})
    found = {"divergence": divergence, "classes": ["n", "p"], "associations": "z", "words": words, "probe": "probe",
             "sizes": [{"classes": {"n": 30, "none": 0, "p": 10}}, {"classes": {"n": 0, "p": 99}}]}  # fmt: skip
    paths = inspection_figures.draw(found, str(tmp_path))
    assert [path.name for path in paths] == ["divergence.png", "words.png", "probe.png"] and paths[0].parent == tmp_path
    assert calls["classes"] == (paths[0], ("bits", ["n", "p"])) and calls["probe"] == (paths[2], ("probe",))
    path, (associations, vocabulary, names, prior) = calls["words"]
    assert (path, associations, vocabulary, names, prior.tolist()) == (paths[1], "z", ["a"], ["n", "p"], [0.75, 0.25])


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(inspection_figures, "save", lambda figure, path, **options: figures.append(figure))

    def words(count, p, z, rates, prior, **named):
        nothing = np.zeros_like(z)
        found = Association(np.array(count), np.array(p), np.array(z), np.array(rates), nothing, nothing, nothing)
        names = [f"c{k}" for k in range(len(prior))]
        inspection_figures.words("x.png", found, [f"w{i}" for i in range(len(count))], names, np.array(prior), **named)
        return figures[-1].axes[0]

    return words


def named(axes):
    return [text.get_text() for text in axes.texts[:-1]]  # the last is the line below the title


def test_classes_of_equal_spread_share_a_boundary(drawn):
    p, z, q = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[4.0, -4], [-6, 6]]), np.full((2, 2), 0.01)
    bounds = {prior: [np.asarray(line.get_xydata(), float) for line in drawn([100, 400], p, z, q, prior).lines]
              for prior in ((0.25, 0.75), (0.5, 0.5))}  # fmt: skip
    [one] = bounds[0.25, 0.75]
    np.testing.assert_allclose([one[0], one[-1]], [[100, 4 * np.sqrt(0.1875 / 100)], [400, 4 * np.sqrt(0.1875 / 400)]])
    three = drawn([100], [[0.9, 0.1, 0]], [[4.0, -4, -4]], np.full((1, 3), 0.01), (0.5, 0.3, 0.2))
    assert len(three.lines) == 3 and len([line for line in three.lines if "4.0" in line.get_label()]) == 1


def test_each_class_names_its_strongest_words_if_they_have_room(drawn):
    """Twenty words far from each other, of which 18 indicate the first class; then ten in the same place."""
    count = (10 * 1.5 ** np.arange(20)).astype(int)
    p = np.linspace(0.6, 0.99, 20)
    z = np.linspace(2, 1, 20)
    first = np.arange(20) < 18
    score = np.where(first[:, None], np.stack([z, -z], 1), np.stack([-z, z], 1))
    share = np.where(first[:, None], np.stack([p, 1 - p], 1), np.stack([1 - p, p], 1))
    axes = drawn(count, share, score, np.full((20, 2), 0.01), (0.5, 0.5))
    found = named(axes)
    assert sorted(found) == sorted([f"w{i}" for i in range(7)] + ["w18", "w19"]), "seven a class, of fourteen"
    assert len(named(drawn(count, share, score, np.where(np.stack([first] * 2, 1), 0.01, 0.5), (0.5, 0.5)))) == 7
    crowded = drawn(
        [50] * 10, np.tile([[0.9, 0.1]], (10, 1)), np.stack([z[:10], -z[:10]], 1), np.full((10, 2), 0.01), (0.5, 0.5)
    )
    assert named(crowded) == ["w0"]


def test_counts_of_less_than_a_decade_have_numbers_as_ticks(drawn):
    p, z, q = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[4.0, -4], [-6, 6]]), np.full((2, 2), 0.01)
    axis = drawn([20, 90], p, z, q, (0.5, 0.5)).xaxis
    labels = [axis.get_major_formatter()(place) for place in axis.get_majorticklocs() if 20 <= place <= 90]
    assert labels == ["20", "30", "40", "50", "70"]
    assert not any(axis.get_minor_formatter()(place) for place in axis.get_minorticklocs())


def test_of_words_in_the_same_texts_one_with_letters_is_named(monkeypatch):
    figures = []
    monkeypatch.setattr(inspection_figures, "save", lambda figure, path, **options: figures.append(figure))
    z, q = np.array([[4.0, -4]] * 3), np.full((3, 2), 0.01)
    found = Association(np.array([50] * 3), np.array([[0.9, 0.1]] * 3), z, q, z, z, z)
    inspection_figures.words("x.png", found, ["[", "ref", "]"], ["n", "p"], np.array([0.5, 0.5]))
    assert named(figures[0].axes[0]) == ["ref"]


def test_without_a_judged_word_the_figure_is_empty(tmp_path):
    none = np.full((1, 2), np.nan)
    found = Association(np.array([2]), none, none, none, none, none, none)
    inspection_figures.words(tmp_path / "words.png", found, ["w"], ["n", "p"], np.array([0.5, 0.5]))
    assert (tmp_path / "words.png").stat().st_size > 0


def test_the_rate_decides_which_words_are_colored(drawn):
    given = (
        [100, 200],
        [[0.9, 0.1], [0.8, 0.2]],
        np.array([[5.0, -5], [4.0, -4]]),
        [[0.01] * 2, [0.2] * 2],
        (0.5, 0.5),
    )
    usual, wide = drawn(*given), drawn(*given, q=0.25)
    assert named(usual) == ["w0"] and sorted(named(wide)) == ["w0", "w1"]
    assert "5 %" in usual.texts[-1].get_text() and "25 %" in wide.texts[-1].get_text()
    assert drawn(*given, q=0.001).lines == [] or not list(drawn(*given, q=0.001).lines)
