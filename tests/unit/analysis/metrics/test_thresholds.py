"""Thresholds on scores, against scikit-learn's values."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics import thresholds

SCORES = np.array([0.1, 0.2, 0.2, 0.35, 0.4, 0.6, 0.7, 0.9])
LABELS = np.array([0, 0, 1, 0, 1, 1, 0, 1])


def test_the_best_f1_and_mcc():
    assert thresholds.choose(SCORES, LABELS, "f1") == pytest.approx((0.375, 0.75))
    assert thresholds.choose(SCORES, LABELS, "mcc") == pytest.approx((0.375, 0.5))


def test_all_positive():
    assert thresholds.at(SCORES, LABELS, 0, "f1") == pytest.approx(0.66666667)
    assert thresholds.at(SCORES, LABELS, 0, "mcc") == 0


def test_precision_where_recall_is_enough():
    assert thresholds.choose(SCORES, LABELS, "precision_at_recall", recall=1.0) == pytest.approx((0.15, 4 / 7))


def test_a_higher_cost_of_false_positives_raises_the_threshold():
    cheap, dear = (thresholds.choose(SCORES, LABELS, "cost", costs=(price, 1.0))[0] for price in (0.1, 10.0))
    assert cheap < 0.375 < dear


def test_of_equally_good_thresholds_the_midpoint_is_chosen():
    """Class 1 above 0.5: every cut between .2 and .8 is right; one distinct pair of scores, one midpoint."""
    assert thresholds.choose([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], "f1") == pytest.approx((0.5, 1.0))


def test_the_interval_covers_the_choice_and_is_the_same_again():
    found = thresholds.interval(SCORES, LABELS, resamples=200)
    assert found["threshold"][0] <= 0.375 <= found["threshold"][1]
    assert found == thresholds.interval(SCORES, LABELS, resamples=200)


def test_platt_is_near_the_true_sigmoid():
    draw = np.random.default_rng(0)
    scores = draw.normal(size=4000)
    labels = (draw.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))).astype(int)
    assert thresholds.platt(scores, labels) == pytest.approx((2, -1), abs=0.15)


def test_one_class_is_refused():
    with toy.refused("classes"):
        thresholds.choose([0.1, 0.2], [1, 1])
