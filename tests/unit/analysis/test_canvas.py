"""Figures: labels that do not overlap, texts that are not formulas, atomic saving."""

import pytest

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
