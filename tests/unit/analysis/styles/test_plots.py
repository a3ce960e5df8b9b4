"""Drawings of styles: the direction of a ribbon, and distinct colors."""

import numpy as np
import pytest

from plugins.analysis.styles import plots as style_plots


@pytest.mark.parametrize(
    ("text", "backwards"), [("בראשית ברא", True), ("To be", False), ("בראשית ברא, in the", True), ("12, 3!", False)]
)
def test_a_text_runs_the_way_most_of_its_letters_are_written(text, backwards):
    assert style_plots.reads_backwards(text) is backwards


def test_a_ribbon_runs_from_right_to_left_in_hebrew(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(style_plots, "draw_ribbon", lambda axes, text, *_: seen.append((axes, text)))
    for text in ("אבגדה", "abcde"):
        style_plots.ribbon(tmp_path / "r.png", text, np.full((5, 2), 0.5), ["a", "b"], "title", width=3)
    assert [text for _, text in seen] == ["אבג", "דה", "abc", "de"]
    assert [axes.get_xlim() for axes, _ in seen] == [(3, 0), (3, 0), (0, 3), (0, 3)]


def test_every_style_has_a_distinct_color():
    for count in (2, 7, 20):
        assert len(set(style_plots.colors_of([str(i) for i in range(count)]).values())) == count


@pytest.mark.parametrize("count", [2, 30])
def test_the_legend_of_a_ribbon_does_not_overlap_title_and_lines(count, monkeypatch, tmp_path):
    kept, names = [], [f"style {i}" for i in range(count)]
    monkeypatch.setattr(style_plots, "save", lambda figure, path: kept.append(figure))
    style_plots.ribbon(tmp_path / "r.png", "abc", np.full((3, count), 1 / count), names, "title")
    kept[0].canvas.draw()
    title, legend, line = (part.get_window_extent() for part in (kept[0].texts[0], kept[0].legends[0], kept[0].axes[0]))
    assert title.y0 >= legend.y1 and legend.y0 >= line.y1


def test_the_legend_of_many_styles_does_not_shrink_the_plot(monkeypatch, tmp_path):
    kept, shape = [], (2, 30, 4)
    monkeypatch.setattr(style_plots, "save", lambda figure, path, **_: kept.append(figure))
    found = style_plots.Modulation((0, 1), np.ones(shape), np.zeros(shape))
    style_plots.modulation_strength(tmp_path / "m.png", found, [f"style {i}" for i in range(30)])
    assert min(axes.get_position().height for axes in kept[0].axes) > 0.5
