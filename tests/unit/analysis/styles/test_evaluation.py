"""Measures of style for text with a style and text without one."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from plugins.analysis.metrics.means import mean_and_error
from plugins.analysis.styles import evaluation

NONE = -1


def first_letter(windows):
    """A judge for texts like "aaaabbbb": a, b and c are styles, any other letter is none."""
    return np.array(["abc".find(window[0]) for window in windows], np.int64)


# Consistency


def test_all_windows_of_the_requested_style():
    assert evaluation.consistency(np.array([2, 2, 1, NONE]), style=2) == 0.5


def test_without_a_requested_style_a_window_is_compared_with_the_others():
    assert evaluation.consistency(np.array([1, 1, 1])) == 1
    # 1 and 1: the others' most frequent style is 1, tied with 0 (1/2 each); 0: the others' is 1
    assert evaluation.consistency(np.array([1, 1, 0])) == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_one_window_has_no_consistency():
    assert math.isnan(evaluation.consistency(np.array([1])))


def test_random_labels_score_chance():
    draw = np.random.default_rng(0)
    scores = [evaluation.consistency(draw.integers(0, 4, 20)) for _ in range(2000)]
    assert np.mean(scores) == pytest.approx(0.25, abs=4 * np.std(scores) / math.sqrt(2000))


def test_windows_without_style_score_zero_even_if_they_are_alike():
    assert evaluation.consistency(np.full(10, NONE)) == 0
    assert evaluation.consistency(np.array([NONE, NONE, 1, 1])) == 0.5


def test_by_length_incomplete_windows_are_dropped():
    scores = evaluation.consistency_by_length(["aaaaaab", "bbbbbb"], first_letter, [2, 3])
    assert scores[2] == {"mean": 1.0, "standard_error": 0.0, "n": 2}
    assert evaluation.consistency_by_length(["aabb"], first_letter, [2], [0])[2]["mean"] == 0.5


# Transfer, base rates, confusion, agreement


def test_transfer_counts_windows_of_the_requested_style():
    found = evaluation.transfer({0: ["aaab", "aaaa"], 1: ["bxbb"]}, first_letter, 1, base=np.array([0.5, 0.25]))
    assert found["by_style"][0]["mean"] == 0.875 and found["by_style"][1]["mean"] == 0.75
    assert found["success"]["n"] == 3 and found["success"]["mean"] == pytest.approx(2.5 / 3)
    assert found["confusion"] == [[7, 1, 0], [0, 3, 1]]
    assert found["above_base"] == {0: 0.375, 1: 0.5}


def test_base_rates_have_a_place_for_none():
    assert evaluation.base_rates(["aabx"], first_letter, 1, 3).tolist() == [0.5, 0.25, 0, 0.25]


def test_agreement_and_kappa():
    same = evaluation.agreement([0, 1, 1, NONE], [0, 1, 1, NONE])
    assert (same["share"], same["kappa"]) == (1, 1)
    # each half 0, half 1, equal in half: the chance level
    assert evaluation.agreement([0, 0, 1, 1], [0, 1, 0, 1])["kappa"] == 0


def test_accuracy_weighs_styles_equally():
    found = evaluation.accuracy_by_length(["aaaaaaaa", "bbaa"], first_letter, [2])[2]
    assert found["mean"] == 0.75 and found["n"] == 6


def test_the_standard_error_of_a_mean():
    assert mean_and_error([1, 2, 3, math.nan]) == {
        "mean": 2.0, "standard_error": pytest.approx(1 / math.sqrt(3)), "n": 3,
    }  # fmt: skip


# The model itself


class Causal(nn.Module):
    """Predicts from the last token alone; ``styles`` add to the logits of the token of their number."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.table = torch.randn(5, 5, generator=generator)

    def forward(self, tokens, styles=None):
        logits = self.table[tokens]
        if styles is not None:
            logits = logits + torch.nn.functional.pad(styles, (0, 5 - styles.size(1)))[:, None] * 3
        return logits, {"style_logits": self.table[tokens][..., :2]}


class Leaking(Causal):
    """A model in which every position sees the next token of its input."""

    def forward(self, tokens, styles=None):
        logits = self.table[tokens].clone()
        logits[:, :-1] += 5 * torch.nn.functional.one_hot(tokens[:, 1:], 5)
        return logits, {"style_logits": None}


@pytest.fixture
def windows():
    return torch.randint(0, 5, (7, 9), generator=torch.Generator().manual_seed(2))


def test_the_honest_loss_of_a_causal_model_is_that_of_one_pass(windows):
    found = evaluation.honest_loss(Causal(), windows, batch=3)
    assert found["honest"]["mean"] == pytest.approx(found["one_pass"]["mean"], abs=1e-6)
    assert found["gap"]["standard_error"] < 1e-6 and found["tokens"] == 56


def test_the_honest_loss_of_a_leaking_model_is_that_without_the_leak(windows):
    causal, leaking = evaluation.honest_loss(Causal(), windows), evaluation.honest_loss(Leaking(), windows)
    assert leaking["one_pass"]["mean"] < causal["one_pass"]["mean"] - 0.5
    assert leaking["honest"]["mean"] == pytest.approx(causal["honest"]["mean"], abs=1e-6)
    assert leaking["gap"]["mean"] == pytest.approx(leaking["honest"]["mean"] - leaking["one_pass"]["mean"], abs=1e-6)


def test_a_batch_changes_nothing(windows):
    one, all_ = (evaluation.honest_loss(Leaking(), windows, batch=size) for size in (1, 64))
    assert one["honest"] == pytest.approx(all_["honest"])


def test_the_cost_of_a_style(windows):
    text = torch.zeros_like(windows)  # what style 0 makes likely
    found = evaluation.style_cost(lambda style: evaluation.nats(Causal(), text, style), true=0, styles=2)
    assert found["true"]["mean"] < found["none"]["mean"] < found["wrong"]["mean"]
    assert found["inferred"]["mean"] == pytest.approx(found["none"]["mean"])
    assert found["wrong_minus_true"]["mean"] == pytest.approx(found["wrong"]["mean"] - found["true"]["mean"])
    assert found["true"]["n"] == 7


def test_the_head_is_evaluated_after_several_lengths(windows):
    model = Causal()
    truth = model.table[windows[:, 3]][:, :2].argmax(-1)
    found = evaluation.head_accuracy(model, windows, truth, [1, 4, 100])
    assert list(found["accuracy"]) == [1, 4] and found["accuracy"][4]["mean"] == 1
    assert np.trace(found["confusion"]) == np.sum(found["confusion"]) == 7


def test_the_error_of_an_accuracy_combines_those_of_the_styles():
    """Windows of "aaba": 1, 0 of style a; all of style b: errors 0.5 and 0, so 0.5 / 2."""
    found = evaluation.accuracy_by_length(["aaba", "bbbb"], first_letter, [2])[2]
    assert (found["mean"], found["standard_error"]) == (0.75, 0.25)


def test_the_cost_of_a_wrong_style_is_the_mean_over_the_others():
    def losses(style):
        if style is None:
            return torch.tensor([[2.0], [2.0]])
        return torch.tensor([[1.0], [3.0]]) + style @ torch.tensor([0.0, 1.0, 5.0])

    found = evaluation.style_cost(losses, true=0, styles=3)
    assert {name: of["mean"] for name, of in found.items()} == {
        "true": 2.0, "inferred": 2.0, "none": 2.0, "wrong": 5.0, "wrong_minus_true": 3.0,
    }  # fmt: skip
    assert found["wrong_minus_true"]["standard_error"] == 0 and found["wrong"]["standard_error"] == 1.0


def test_kappa_is_below_zero_for_less_than_chance():
    assert evaluation.agreement([0, 1], [1, 0]) == {"share": 0.0, "kappa": -1.0, "n": 2}


def test_ties_of_the_most_frequent_style_count_in_parts():
    """Each of four windows sees three others; a sees b, b and a: a is in the minority of the others."""
    assert evaluation.consistency(np.array([0, 0, 1, 1])) == 0.0
    assert evaluation.consistency(np.array([0, 0, 0, 1])) == 0.75
    assert evaluation.consistency(np.array([0, 1, 0])) == pytest.approx((0.5 + 0 + 0.5) / 3)


def test_success_above_the_base_rate_is_by_style():
    found = evaluation.transfer({0: ["aaaa"], 1: ["bbab"]}, first_letter, 1, base=np.array([0.25, 0.5, 0.25]))
    assert found["above_base"] == {0: 0.75, 1: 0.25}
    assert found["confusion"] == [[4, 0, 0], [1, 3, 0]]


def test_no_windows_have_no_consistency_or_agreement():
    for style in (0, None):
        assert math.isnan(evaluation.consistency(np.array([]), style))
    assert math.isnan(evaluation.agreement([], [])["kappa"]) and evaluation.agreement([], [])["n"] == 0
    assert math.isnan(evaluation.agreement([1, 1], [1, 1])["kappa"]), "chance alone"
    assert evaluation.base_rates(["a"], lambda windows: np.zeros(0, int), 9, 2).tolist() == [0, 0, 0]


def test_one_style_has_no_wrong_one():
    found = evaluation.style_cost(lambda style: torch.ones(2, 3), true=0, styles=1)
    assert list(found) == ["true", "inferred", "none"]


def test_batches_of_64_windows_make_no_difference():
    windows = torch.randint(0, 5, (70, 4), generator=torch.Generator().manual_seed(2))
    whole = evaluation.nats(Causal(), windows)
    assert whole.shape == (70, 3)
    torch.testing.assert_close(whole[65:], evaluation.nats(Causal(), windows[65:]))
    forced = evaluation.nats(Causal(), windows, torch.tensor([1.0, 0]))
    torch.testing.assert_close(forced[65:], evaluation.nats(Causal(), windows[65:], torch.tensor([1.0, 0])))
    labels = torch.zeros(70, dtype=torch.long)
    assert np.sum(evaluation.head_accuracy(Causal(), windows, labels, [4])["confusion"]) == 70
