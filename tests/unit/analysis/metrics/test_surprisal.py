"""Surprisal of each token, against the model's own losses and predictions."""

import math

import pytest
import torch
import toy

from plugins import hub
from plugins.analysis.metrics.surprisal import Surprisal, surprisal


@pytest.fixture(scope="module", params=["baseline", "zero_clap"])
def masked_lm(request, toy_data, tmp_path_factory):
    return hub.load(toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data, **toy.VARIANTS[request.param]))


@pytest.mark.parametrize("text", ["abca", "abcdefgh" * 5])  # within a block of 16, and over several
def test_the_mean_surprisal_of_a_causal_model_is_its_loss(make_char_lm, text):
    lm = make_char_lm()
    found = surprisal(lm, text)
    assert found.mean_bits == pytest.approx(lm.loss(text) / math.log(2), rel=1e-5)
    assert math.isnan(found.bits[0]) and not found.bits[1:].isnan().any()


def test_a_noncausal_style_model_is_evaluated_prefix_by_prefix(make_char_lm):
    lm = make_char_lm(styles=["a", "b"], style_inference="published")
    assert surprisal(lm, "abcab").mean_bits == pytest.approx(lm.loss("abcab") / math.log(2), rel=1e-4)


def test_a_masked_lm_predicts_each_token_at_a_mask_in_its_place(masked_lm, monkeypatch):
    monkeypatch.setattr("plugins.analysis.metrics.surprisal.MASKED_AT_ONCE", 2)
    found = surprisal(masked_lm, "the river follows a garden .", k=3)
    for place in range(1, len(found.ids) - 1):
        tokens = found.ids.clone()
        tokens[place] = masked_lm.dictionary.index("<mask>")
        with torch.no_grad():
            p = masked_lm.model(tokens[None])[0][0, place].softmax(-1)  # (V,)
        assert 2 ** -found.bits[place].item() == pytest.approx(p[found.ids[place]].item(), rel=1e-4)
        assert found.choices[place].tolist() == p.topk(3).indices.tolist()
        assert found.probabilities[place].tolist() == pytest.approx(p.topk(3).values.tolist(), rel=1e-4)


def test_special_tokens_have_no_surprisal(masked_lm):
    found = surprisal(masked_lm, "the river")
    assert math.isnan(found.bits[0]) and math.isnan(found.bits[-1]) and not found.bits[1:-1].isnan().any()


def test_choices_are_ordered_and_as_many_as_requested(make_char_lm):
    found = surprisal(make_char_lm(), "abc", k=3)
    assert found.choices.shape == (3, 3)
    assert (found.probabilities[1:].diff(dim=1) <= 0).all() and found.probabilities[0].isnan().all()


@pytest.mark.parametrize("text", ["", "a"])
def test_too_short_a_text_is_one_line(make_char_lm, text):
    with toy.refused(repr(text)):
        surprisal(make_char_lm(), text)


def test_a_mask_has_no_surprisal(masked_lm):
    with toy.refused("<mask>"):
        surprisal(masked_lm, "the <mask>")


def test_perplexity_is_two_to_the_mean_bits():
    bits = torch.tensor([math.nan, 1.0, 3.0])
    assert Surprisal(bits, bits, bits, bits).perplexity == 4


def test_choices_are_at_most_the_vocabulary(make_char_lm):
    lm = make_char_lm()
    found = surprisal(lm, "abc", k=10**6)
    assert found.choices.shape == (3, lm.logits("ab").size(1))
    assert found.probabilities[1:].sum(1).tolist() == pytest.approx([1, 1])
    assert surprisal(lm, "abc").choices.shape == (3, 5)


def test_a_text_may_be_as_long_as_a_masked_lm_takes(masked_lm, monkeypatch):
    text = "the river follows a garden ."
    count = len(masked_lm.encode(text))
    monkeypatch.setattr(masked_lm.model, "max_positions", lambda: count)
    assert len(surprisal(masked_lm, text).ids) == count
    monkeypatch.setattr(masked_lm.model, "max_positions", lambda: count - 1)
    with toy.refused(count, count - 1):
        surprisal(masked_lm, text)


def test_special_tokens_alone_are_refused(masked_lm):
    with toy.refused("text"):
        surprisal(masked_lm, "")


def test_a_model_stays_in_its_mode(masked_lm):
    expected = surprisal(masked_lm, "the river").bits.nan_to_num()
    masked_lm.model.train()
    try:
        assert torch.equal(surprisal(masked_lm, "the river").bits.nan_to_num(), expected), "without dropout"
        assert masked_lm.model.training
    finally:
        masked_lm.model.eval()
