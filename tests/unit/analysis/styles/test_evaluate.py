"""The complete evaluation of styles: which parts of it a model gets."""

from types import SimpleNamespace

import pytest
import torch
import toy

from plugins.analysis.styles import evaluate
from plugins.analysis.styles.evaluate import StyleEvaluation
from plugins.analysis.styles.samples import Sampling

STYLES = ("calm", "wild")
DOCUMENTS = {"calm": ["abc abd fed " * 40], "wild": ["hgf edc ab! ".replace("!", "h") * 50]}


def settings(**options):
    given = {"lengths": [10, 20], "window": 10, "cost_windows": 2, "honest_tokens": 0} | options
    return StyleEvaluation(Sampling([3, 4], 2, 20), **given)


@pytest.fixture
def judged(monkeypatch):
    """The calls of the judges, which answer nothing, and of the sampling."""
    calls = []

    class Judging:
        def __init__(self, *given):
            calls.append(given)

        def judge(self, parts, texts, length, count):
            calls.append((len(parts), texts, length, count))
            return {"judges": "reports", "agreement": "agreement"}

    def generate(self, lm, real, styles, given):
        calls.append((styles, given))
        return "texts"

    monkeypatch.setattr(evaluate, "Judging", Judging)
    monkeypatch.setattr(Sampling, "generate", generate)
    return calls


def test_a_model_with_the_styles_of_the_text_gets_every_part(make_char_lm, judged):
    found = settings(honest_tokens=40).run(make_char_lm(styles=STYLES[::-1]), DOCUMENTS)
    assert found["styles"] == list(STYLES) and found["chance"] == 0.5 and found["model_has_these_styles"]
    assert found["characters"] == {
        "judges_learn": {"calm": 288, "wild": 360}, "judges_tested": {"calm": 96, "wild": 120},
        "model_judged": {"calm": 96, "wild": 120},
    }  # fmt: skip
    assert list(found["head"]["accuracy"]) == [1, 8, 16] and found["head"]["styles"] == ["wild", "calm"]
    assert list(found["cost"]) == list(STYLES) and found["cost"]["calm"]["true"]["n"] == 2
    assert found["loss"]["tokens"] == 2 * 2 * 16, "40 characters are three blocks, two of each style"
    assert judged == [(list(STYLES), True), (list(STYLES), [10, 20], 10, 3), (3, "texts", 20, 4)]
    assert (found["judges"], found["samples"]) == ("reports", "texts")


def test_labels_follow_the_order_of_the_models_styles(make_char_lm, monkeypatch, judged):
    seen, costs = [], []

    def head_accuracy(model, rows, labels, lengths):
        seen.append(labels)
        return {}

    monkeypatch.setattr(evaluate.evaluation, "head_accuracy", head_accuracy)
    monkeypatch.setattr(evaluate.evaluation, "style_cost", lambda losses, true, styles: costs.append((true, styles)))
    settings().run(make_char_lm(styles=STYLES[::-1]), DOCUMENTS)
    assert seen[0].tolist() == [1, 1, 0, 0] and costs == [(1, 2), (0, 2)]


def test_a_model_of_other_styles_has_neither_head_nor_cost(make_char_lm, judged):
    found = settings().run(make_char_lm(styles=("other", "wild")), DOCUMENTS)
    assert not found["model_has_these_styles"] and not {"head", "cost", "loss"} & found.keys()
    assert judged[0] == (list(STYLES), False)


def test_text_without_styles_is_not_judged(make_char_lm, judged):
    found = settings(honest_tokens=1).run(make_char_lm(), {"": ["abc " * 100]})
    assert found["styles"] == [] and found["chance"] is None and "judges" not in found and judged == []
    assert found["loss"]["tokens"] == 16


def test_samples_of_a_model_that_sees_the_future_are_not_judged(make_char_lm, judged):
    found = settings().run(make_char_lm(styles=STYLES, style_inference="published"), DOCUMENTS)
    assert found["sees_the_future"] and "judges" not in found and judged == [] and "cost" in found


LENGTHS = [(16, False, True), (17, False, False), (20, True, True), (21, True, False)]


@pytest.mark.parametrize(("count", "judged", "refused"), LENGTHS)
def test_more_text_than_a_block_and_a_sample_is_needed(count, judged, refused):
    lm, parts = SimpleNamespace(block_size=16), [["a" * 99] * 2, [], ["a" * count, "a" * 99]]
    if refused:
        with toy.refused(count, "--sample-length"):
            settings().check(lm, parts, STYLES, judged)
    else:
        settings().check(lm, parts, STYLES, judged)


@pytest.mark.parametrize(("count", "refused"), [(19, True), (20, False)])
def test_the_style_with_too_little_text_to_learn_is_named(count, refused):
    lm, parts = SimpleNamespace(block_size=16), [["a" * 99, "a" * count], [], ["a" * 99] * 2]
    if refused:
        with toy.refused("'wild'", count, 20):
            settings().check(lm, parts, STYLES, True)
        settings().check(lm, parts, STYLES, False)
    else:
        settings().check(lm, parts, STYLES, True)


def test_losses_are_of_the_forced_or_the_inferred_style(make_char_lm):
    lm = make_char_lm(styles=STYLES)
    rows = evaluate.windows_of(lm, DOCUMENTS["calm"][0], 1)
    losses = evaluate.losses_of(lm, rows)
    text = lm.dictionary.decode(rows[0].tolist())
    assert losses(torch.eye(2)[1]).mean().item() == pytest.approx(lm.loss(text, style="wild"), rel=1e-4)
    assert losses(None).mean().item() == pytest.approx(lm.loss(text), rel=1e-4)
