"""Drawings of attention: text direction, labels, and their positions in the figure."""

import numpy as np
import pytest
import toy

from plugins.analysis.attention import plots

pytest.importorskip("matplotlib")
HEBREW = list("בראשית ברא")


def causal(layers, heads, length):
    weights = np.tril(np.random.default_rng(0).random((layers, 1, heads, length, length)))
    return list(weights / weights.sum(-1, keepdims=True))


@pytest.fixture
def figure(monkeypatch):
    """Keep the last figure that was written."""
    kept = []
    original = plots.save
    monkeypatch.setattr(plots, "save", lambda drawn, path: kept.append(drawn) or original(drawn, path))
    return kept


@pytest.mark.parametrize(
    "tokens, expected",
    [
        (list("abc"), False),
        (HEBREW, True),
        (list("12. אב"), True),  # digits and signs have no direction of their own
        (list("a בגד"), False),  # the first letter decides
        (["<s>", " שלום", " hello", "</s>"], True),
        (["<s>", "<mask>", "</s>"], False),
        (list("مرحبا"), True),
        ([], False),
    ],
)
def test_the_first_letter_determines_the_text_direction(tokens, expected):
    assert plots.right_to_left(tokens) is expected


def test_spaces_and_breaks_are_visible_and_special_tokens_stay():
    assert [plots.visible(token) for token in (" ", "\n", " the", "<s>", "<mask>", "\x00", "ש", "$x$")] == [
        "␣", "↵", "␣the", "<s>", "<mask>", "\\x00", "ש", "$x$",
    ]  # fmt: skip


def test_one_head_has_queries_down_keys_across_and_tokens_on_both_axes(tmp_path, figure):
    weights = causal(1, 1, 4)[0][0, 0]
    plots.attention_map(tmp_path / "a.png", ["a", " ", "$", "$"], weights, "title")
    axes = figure[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "␣", "$", "$"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "␣", "$", "$"]
    drawn = axes.images[0].get_array()
    np.testing.assert_allclose(drawn.filled(0), weights)
    assert drawn.mask.tolist() == np.triu(np.ones((4, 4), bool), 1).tolist()  # invisible characters
    assert axes.get_xlim() == (-0.5, 3.5) and axes.get_ylim() == (3.5, -0.5)
    assert "key" in axes.get_xlabel() and "query" in axes.get_ylabel() and figure[0].get_suptitle() == "title"


def test_hebrew_keys_run_from_right_to_left_and_queries_still_down(tmp_path, figure):
    plots.attention_map(tmp_path / "a.png", HEBREW, causal(1, 1, 10)[0][0, 0], "title")
    axes = figure[0].axes[0]
    assert axes.get_xlim() == (9.5, -0.5) and axes.get_ylim() == (9.5, -0.5)
    assert axes.get_xticklabels()[0].get_text() == "ב" and axes.yaxis.get_ticks_position() == "right"


def test_a_hebrew_label_is_put_in_order_by_matplotlib(tmp_path):
    """The first letter is on the right: the image of a word ends with the image of its first letter alone."""
    from plugins.analysis.canvas import new_canvas

    def ink(text):
        canvas = new_canvas(2, 1)
        canvas.text(0.1, 0.3, text, fontsize=30)
        canvas.canvas.draw()
        columns = (np.asarray(canvas.canvas.buffer_rgba())[..., 0] < 128).sum(0)
        where = np.flatnonzero(columns)
        return columns[where[0] : where[-1] + 1]

    letter, word = ink("ש"), ink("שי")
    at_left, at_right = (np.abs(part - letter).sum() for part in (word[: len(letter)], word[-len(letter) :]))
    assert at_right < at_left / 3


@pytest.mark.parametrize("tokens, side", [(list("abcd"), 0), (list("אבגד"), 2)])
def test_the_grid_has_layers_down_heads_across_and_labels_at_its_edge(tmp_path, figure, tokens, side):
    attention = causal(2, 3, 4)
    plots.attention_grid(tmp_path / "g.png", tokens, attention, "title")
    panels = figure[0].axes[:6]
    for index, axes in enumerate(panels):
        np.testing.assert_allclose(axes.images[0].get_array().filled(0), attention[index // 3][0, index % 3])
        visible = [tick.label1.get_visible() or tick.label2.get_visible() for tick in axes.yaxis.get_major_ticks()]
        assert visible == [index % 3 == side] * 4
    assert panels[0].get_ylabel() == "layer 0" and panels[2].get_title() == "head 2"


def test_full_attention_has_no_hidden_keys():
    assert not plots.never_seen(np.full((2, 3, 3), 1 / 3)).any()
    assert plots.never_seen(np.tril(np.ones((2, 3, 3)))).sum() == 3


def found(score, low=None, high=None):
    score = np.array(score)
    return {"score": score, "low": score - 0.01 if low is None else np.array(low), "high": score + 0.01}


def test_the_best_heads_are_those_whose_interval_is_above_zero():
    scores = found([[0.2, 0.5], [0.004, 0.3]], low=[[0.19, 0.49], [0.003, -0.1]])
    assert plots.best_heads(scores, 3) == ["layer 0 head 1: 0.50 (0.49 to 0.51)", "layer 0 head 0: 0.20 (0.19 to 0.21)"]
    assert plots.best_heads(found([[0.0, -0.2]]), 3) == ["no head"]
    assert plots.best_heads(found([[np.nan]]), 3) == ["no head"]
    assert plots.best_heads(found([[0.5]], low=[[np.nan]]), 1) == ["layer 0 head 0: 0.50 (no interval)"]


def test_numbers_near_zero_have_no_sign():
    assert [plots.two_digits(value) for value in (-0.001, 0.001, -0.01)] == ["0.00", "0.00", "-0.01"]


def test_there_is_a_map_for_each_pattern_with_the_best_head_framed(tmp_path, figure):
    scores = {
        "previous_token_head": found([[0.1, 0.7], [0.2, 0.3]]),
        "induction_head": found([[0.0, 0.02], [0.0, 0.0]]),
    }
    plots.pattern_maps(tmp_path / "p.png", scores, "title")
    first, second = figure[0].axes[:2]
    assert first.get_title() == "previous token\nlayer 0 head 1: 0.70 (0.69 to 0.71)"
    assert second.get_title() == "induction\nno head above 0.1"
    assert [patch.get_xy() for patch in first.patches] == [(0.5, -0.5)] and not second.patches
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_figure_format_writes_no_file(tmp_path):
    with toy.refused("a.xyz"):
        plots.attention_map(tmp_path / "a.xyz", ["a", "b"], np.eye(2), "title")
    assert not list(tmp_path.iterdir())


def test_maps_are_on_the_scale_of_the_report(tmp_path, figure):
    plots.pattern_maps(tmp_path / "p.png", {"first_token_head": found([[0.25, -0.1]])}, "title")
    norm = figure[0].axes[0].images[0].norm
    assert norm(0.25) == pytest.approx(0.5) and norm(-0.1) == 0
