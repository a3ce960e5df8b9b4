"""How well a ranking of sources predicts their scores."""

import math

import pytest
import toy

from plugins.analysis.transfer import judging

ACTUAL = {"a": 0.5, "b": 0.8, "c": 0.4}


def test_regret_is_the_loss_of_trying_only_the_first_sources():
    predicted = {"a": 3.0, "b": 1.0, "c": 2.0}
    assert judging.regret(predicted, ACTUAL) == pytest.approx((0.8 - 0.5) / 0.8)
    assert judging.regret(predicted, ACTUAL, k=2) == pytest.approx((0.8 - 0.5) / 0.8)
    assert judging.regret(predicted, ACTUAL, k=3) == 0


@pytest.mark.parametrize("best", [0.0, -0.1])
def test_regret_is_undefined_where_no_score_is_positive(best):
    actual = {"a": best, "b": best - 0.1, "c": best}
    assert math.isnan(judging.regret({"a": 3.0, "b": 1.0, "c": 2.0}, actual))


def test_the_rank_of_the_best_source_counts_from_one():
    assert judging.rank_of_best({"a": 3.0, "b": 1.0, "c": 2.0}, ACTUAL) == 3
    assert judging.rank_of_best(ACTUAL, ACTUAL) == 1


def test_ndcg_of_gains_above_the_lowest_score():
    """Order a, c, b: gains 0.1, 0, 0.4 at discounts 1, 1/log2(3), 1/2; ideal 0.4 + 0.1/log2(3)."""
    assert judging.ndcg({"a": 3.0, "b": 1.0, "c": 2.0}, ACTUAL) == pytest.approx(0.3 / 0.4630930)
    assert judging.ndcg(ACTUAL, ACTUAL) == pytest.approx(1)
    assert judging.ndcg({"a": 1.0, "b": 2.0}, {"a": 0.3, "b": 0.3}) == 1


def test_other_sources_are_named():
    with toy.refused("d"):
        judging.regret({"a": 1.0, "d": 2.0}, {"a": 1.0})


def test_one_source_is_tried_unless_more_are_requested():
    predicted = {"a": 2.0, "b": 1.0, "c": 3.0}
    assert judging.regret(predicted, ACTUAL) == judging.regret(predicted, ACTUAL, 1) == pytest.approx(0.5)
    assert judging.chance_regret(ACTUAL) == judging.chance_regret(ACTUAL, 1)
    with toy.refused("none"):
        judging.regret({}, {})
