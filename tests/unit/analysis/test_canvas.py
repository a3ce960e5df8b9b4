"""Figures: labels that do not overlap, texts that are not formulas, atomic saving."""

import sys

import pytest
import toy

from plugins.analysis import canvas


def test_distant_labels_do_not_move():
    assert canvas.separate([3.0, 1.0, 5.0], 1.0) == [3.0, 1.0, 5.0]


def test_close_labels_are_spread_around_their_mean():
    assert canvas.separate([2.0, 2.0], 1.0) == [1.5, 2.5]
    assert canvas.separate([0.0, 0.1, 0.2], 1.0) == pytest.approx([-0.9, 0.1, 1.1])


def test_overlapping_groups_of_labels_are_merged():
    assert canvas.separate([0.0, 0.0, 1.2], 1.0) == pytest.approx([-0.6, 0.4, 1.4])


@pytest.mark.parametrize("name", ["$\\frac{$", "cost_$5$"])
def test_dollar_signs_are_drawn_literally_and_no_other_file_remains(tmp_path, name):
    pytest.importorskip("matplotlib")
    from matplotlib.text import Text

    figure, axes = canvas.new_figure()
    axes.set_yticks([0], [name])
    axes.set_title(name)
    canvas.save(figure, tmp_path / "p.png", bbox_inches="tight")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if text.get_text() == name)


@pytest.mark.parametrize(("top", "ticks"), [(29, [1, 1.5, 2, 3, 4, 5, 7]), (31, [1, 2, 5])])
def test_a_short_logarithmic_axis_has_more_ticks(top, ticks):
    _, axes = canvas.new_figure()
    axes.set_ylim(1, top)
    canvas.logarithmic(axes)
    assert [round(tick, 6) for tick in axes.get_yticks() if 1 <= tick < 10] == ticks
    assert axes.yaxis.get_major_formatter()(1500.0, None) == "1500" and not axes.spines["top"].get_visible()


def test_an_unknown_format_is_named_and_a_name_without_one_is_a_png(tmp_path):
    figure, _ = canvas.new_figure()
    with toy.refused(tmp_path / "a.xyz"):
        canvas.save(figure, tmp_path / "a.xyz")
    canvas.save(figure, tmp_path / "b", dpi=20)
    assert (tmp_path / "b").read_bytes().startswith(b"\x89PNG")


def test_matplotlib_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with toy.refused("matplotlib"):
        canvas.new_canvas(1, 1)


def test_equal_labels_keep_their_order_and_touching_ones_their_places():
    assert canvas.separate([1.0, 1.0, 1.0], 2.0) == [-1, 1, 3]
    assert canvas.separate([0.0, 1.0], 1.0) == [0, 1] and canvas.separate([], 1.0) == []
