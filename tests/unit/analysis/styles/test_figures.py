"""The figures of a model's styles, and the arrays behind them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plugins.analysis.styles import effects, figures
from plugins.analysis.styles.figures import StyleFigures

STYLES = ["calm", "wild"]
TEXTS = {"calm": "abc abd fed " * 9, "my text/1": "hgf edc ab " * 9}
EVALUATED = {
    "styles": STYLES, "chance": 0.5, "options": {"window": 200},
    "head": {"styles": STYLES, "confusion": [[3, 1], [0, 4]]},
    "judges": {"svm": {
        "consistency": {"real": {"nearest_is_asked": {"200": {"mean": 0.75, "standard_error": 0.125, "n": 4}}}},
        "transfer": {"given": {"confusion": [[1, 2, 3], [4, 5, 6]]}},
    }},
}  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each figure, by the name of its file; nothing is drawn."""
    calls = {}

    def keep(path, *given, **named):
        calls[path.name] = (*given, named)

    of_styles = "plane ribbon modulation modulation_strength attention_differences attention_of_head"
    for name in of_styles.split():
        monkeypatch.setattr(figures.style_plots, name, keep)
    monkeypatch.setattr(figures.plots, "heat_map", keep)
    monkeypatch.setattr(figures.run_plots, "bars", keep)
    return calls


@pytest.fixture
def figures_of(make_char_lm, tmp_path):
    def make(evaluation=None, texts=TEXTS, **options):
        lm = make_char_lm(styles=STYLES, **options)
        windows = {name: effects.windows_of(lm, text, 5) for name, text in texts.items()}
        return StyleFigures(lm, texts, windows, tmp_path, evaluation, characters=20)

    return make


def test_every_figure_is_drawn_and_its_arrays_are_kept(figures_of, drawn):
    made = figures_of(EVALUATED)
    for step in made.steps().values():
        step()
    assert set(drawn) == {f"{name}.png" for name in (
        "embeddings", "modulation", "modulation_strength", "attention", "attention_head", "perplexity", "texts",
        "ribbon_calm", "ribbon_my_text_1", "confusion", "consistency", "confusion_given")}  # fmt: skip
    assert made.missing == [] and made.found["styles"] == STYLES and made.found["texts"] == list(TEXTS)
    assert set(made.found) == {"styles", "texts", "embeddings", "modulation", "attention", "perplexity", "windows",
                               "probabilities", "confusion", "consistency", "confusion_given"}  # fmt: skip
    assert made.found["modulation"]["gain_strength"].shape == (2, 2)


def test_only_the_first_characters_of_a_text_are_in_its_ribbon(figures_of, drawn):
    made = figures_of()
    made.ribbons()
    text, probabilities, styles, title, _ = drawn["ribbon_my_text_1.png"]
    assert (
        text == TEXTS["my text/1"][:20] and probabilities.shape == (20, 2) and styles == STYLES and "my text/1" in title
    )
    assert made.found["probabilities"]["calm"]["text"] == TEXTS["calm"][:20]


def test_windows_have_the_names_of_their_texts(figures_of, drawn):
    made = figures_of()
    made.of_texts()
    laid_out, names, _, options = drawn["texts.png"]
    assert names == ["calm"] * 5 + ["my text/1"] * 5 and len(laid_out.points) == 10 and options == {"styles": STYLES}
    made.embeddings()
    assert drawn["embeddings.png"][1] == STYLES and drawn["embeddings.png"][-1] == {"named": True}


def test_the_head_that_moves_most_is_drawn(figures_of, drawn, monkeypatch):
    made = figures_of()
    moved = np.zeros((4, 2, 2, 2))
    moved[:, :, 1, 0] = [[0.25, 0.5], [0.25, 0.5], [0.5, 0.75], [0.5, 0.75]]
    seen = []
    monkeypatch.setattr(effects, "attention_differences", lambda lm, windows: seen.append(len(windows)) or moved)
    made.attention()
    weights, characters, styles, head, _ = drawn["attention_head.png"]
    assert seen == [2 * 3] and head == (1, 0) and weights.shape == (2, 16, 16) and styles == STYLES
    assert "".join(characters) == TEXTS["calm"][:16]
    found = made.found["attention"]
    assert (found["windows"], found["layer"], found["head"]) == (4, 1, 0)
    assert found["moved"][:, 1, 0].tolist() == [0.375, 0.625]
    assert found["standard_errors"][0, 1, 0] == pytest.approx(0.0721688)


def test_perplexities_have_their_errors_in_the_order_of_the_styles(figures_of, drawn):
    made = figures_of()
    made.perplexity()
    values, rows, columns, _, _, options = drawn["perplexity.png"]
    assert rows == list(TEXTS) and columns == [*STYLES, effects.INFERRED, effects.NO_STYLE]
    table = made.found["perplexity"]
    assert values[1, 0] == table["my text/1"]["calm"]["mean"]
    assert options["errors"][0, 3] == table["calm"][effects.NO_STYLE]["standard_error"] and options["decimals"] == 2


def test_the_confusion_is_that_of_the_evaluation_or_else_of_texts_named_after_styles(figures_of, drawn):
    made = figures_of(EVALUATED)
    made.confusion()
    counts, rows, columns, _, axes, options = drawn["confusion.png"]
    assert counts.tolist() == [[3, 1], [0, 4]] and rows == columns == STYLES and axes[0] == "true style"
    assert options["decimals"] == 0 and made.found["confusion"]["counts"] is counts
    made = figures_of()
    made.confusion()
    assert drawn["confusion.png"][0].sum() == 5
    made = figures_of(texts={"a": TEXTS["calm"]})
    made.confusion()
    assert "calm" in made.missing[0]


def test_one_text_is_compared_with_nothing(figures_of, drawn):
    made = figures_of(texts={"a": TEXTS["calm"]})
    made.of_texts()
    assert not drawn and "texts.png" in made.missing[0]


def test_a_model_that_infers_no_style_has_no_ribbons(figures_of):
    made = figures_of(style_inference="given")
    assert list(made.steps()) == ["embeddings", "modulation", "attention", "perplexity"]
    assert "--style-inference" in made.missing[0]


def test_results_of_a_judge_are_drawn_with_chance(figures_of, drawn):
    made = figures_of(EVALUATED)
    made.judges()
    kinds, series, _, _, note, line, _ = drawn["consistency.png"]
    assert kinds == ["real text"] and line == (0.5, "chance") and "svm" in note and "200" in note
    assert made.found["consistency"]["values"].tolist() == [0.75]
    assert made.found["consistency"]["standard_errors"].tolist() == [0.125]
    counts, rows, columns, *_ = drawn["confusion_given.png"]
    assert counts.tolist() == [[1, 2, 3], [4, 5, 6]] and (rows, columns) == (STYLES, [*STYLES, "none"])


def test_arrays_become_numbers_of_six_digits():
    value = {"a": np.array([1 / 3, 2]), "b": (1, [np.array(2)]), "c": "x", "d": 123456789.0}
    assert figures.plain(value) == {"a": [0.333333, 2.0], "b": [1, [2]], "c": "x", "d": 123457000.0}


def test_long_blocks_are_cut_for_the_figure_of_a_head(figures_of, drawn, monkeypatch):
    made = figures_of()
    made.lm = SimpleNamespace(block_size=99, styles=STYLES, characters="ab")
    made.windows = {"calm": torch.zeros(1, 100, dtype=torch.long)}
    monkeypatch.setattr(effects, "attention_differences", lambda lm, windows: np.ones((1, 2, 1, 1)))
    monkeypatch.setattr(effects, "attention_under_styles", lambda lm, tokens: np.ones((2, 1, 1, *(len(tokens),) * 2)))
    made.attention()
    assert len(made.found["attention"]["characters"]) == 40
