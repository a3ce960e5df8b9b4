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


def test_the_mean_cost_of_errors():
    """Above .375: one of the positives is missed and one negative is accepted, of eight texts."""
    assert thresholds.at(SCORES, LABELS, 0.375, "cost", costs=(3.0, 2.0)) == pytest.approx(-(3 + 2) / 8)
    assert thresholds.at(SCORES, LABELS, 0.5, "cost", costs=(3.0, 2.0)) == pytest.approx(-(3 + 2 * 2) / 8)


def test_a_text_at_the_threshold_is_not_accepted():
    assert thresholds.at([0.5, 0.6], [0, 1], 0.5, "f1") == 1
    assert thresholds.at([0.5, 0.6], [0, 1], 0.6, "f1") == 0


def test_precision_without_enough_recall_is_never_chosen():
    assert thresholds.at(SCORES, LABELS, 0.8, "precision_at_recall", recall=0.5) == -1
    assert thresholds.at(SCORES, LABELS, 0.8, "precision_at_recall", recall=0.25) == 1
    assert thresholds.choose(SCORES, LABELS, "precision_at_recall")[1] == pytest.approx(4 / 7)  # recall .9


def test_of_a_range_of_best_thresholds_the_middle_is_chosen_and_of_separate_ones_the_lowest():
    """False positives are free: any threshold below the first positive is best, from -1 to 1.5."""
    assert thresholds.choose([0.0, 1, 2, 9], [0, 0, 1, 1], "cost", costs=(0.0, 1.0)) == pytest.approx((0.25, 0))
    assert thresholds.choose([0.0, 2, 6, 8], [0, 1, 0, 1], "cost") == pytest.approx((1.0, -0.25))  # 7 is as good


def test_an_unknown_metric_is_refused():
    with toy.refused("--metric what"):
        thresholds.choose(SCORES, LABELS, "what")


def test_platt_smooths_the_labels_of_separable_scores():
    """Of one text of each class the targets are 1/3 and 2/3, whose log odds are -log 2 and log 2."""
    assert thresholds.platt([-1.0, 1.0], [0, 1]) == pytest.approx((np.log(2), 0), abs=1e-4)
    assert thresholds.platt([0.0, 2.0], [0, 1]) == pytest.approx((np.log(2), -np.log(2)), abs=1e-4)


def test_the_interval_is_of_two_and_a_half_percent_on_each_side():
    found = thresholds.interval(np.arange(40.0), (np.arange(40) >= 20).astype(int), resamples=300)
    assert found["value"] == (1.0, 1.0)
    low, high = found["threshold"]
    assert 15 < low < 19.5 < high < 24


def test_candidates_are_midpoints_and_one_below_all():
    found = thresholds.candidates(np.array([0.5, 0.25, 0.25, 1.0]), np.array([1, 0, 1, 0]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "threshold": [-0.75, 0.375, 0.75], "fn": [0, 1, 2], "tn": [0, 1, 1], "tp": [2, 1, 0], "fp": [2, 1, 1],
    }  # fmt: skip


def predicted(threshold):
    return (SCORES > threshold).astype(int)


@pytest.mark.parametrize("threshold", [-1, 0.2, 0.375, 0.5, 0.8, 2])
def test_the_values_at_a_threshold_are_those_of_scikit_learn(threshold):
    from sklearn import metrics

    def at(metric, **options):
        return thresholds.at(SCORES, LABELS, threshold, metric, **options)

    found = predicted(threshold)
    assert at("f1") == pytest.approx(metrics.f1_score(LABELS, found))
    assert at("mcc") == pytest.approx(metrics.matthews_corrcoef(LABELS, found))
    recall = metrics.recall_score(LABELS, found)
    enough = metrics.precision_score(LABELS, found, zero_division=0)
    assert at("precision_at_recall", recall=0.5) == pytest.approx(enough if recall >= 0.5 else -1)
    wrong = (found != LABELS).mean()
    assert at("cost") == pytest.approx(-wrong)
    (_, fp), (fn, _) = metrics.confusion_matrix(LABELS, found)
    assert at("cost", costs=(3.0, 0.5)) == pytest.approx(-(3 * fp + 0.5 * fn) / 8)


def test_recall_has_to_be_nine_tenths_by_default():
    counts = {"tp": np.array([9, 8]), "fn": np.array([1, 2]), "fp": np.array([1, 0]), "tn": np.array([0, 0])}
    assert thresholds.values(counts, "precision_at_recall").tolist() == [0.9, -1]


def test_the_longest_stretch_of_equally_good_thresholds_is_taken():
    """As many are wrong at .15 as at .45 and .75, which are one stretch."""
    scores, labels = np.array([0.1, 0.2, 0.3, 0.6, 0.6, 0.9]), np.array([0, 1, 0, 0, 1, 1])
    assert thresholds.choose(scores, labels, "cost") == pytest.approx((0.6, -1 / 3))


def test_thresholds_next_to_each_other_are_one_stretch():
    """F1 is the same with and without a row of each class."""
    scores, labels = np.array([0.0, 1, 2, 3, 4]), np.array([0, 0, 1, 1, 0])
    counts = thresholds.candidates(scores, labels)
    f1 = thresholds.values(counts, "f1")
    assert thresholds.choose(scores, labels) == pytest.approx((1.5, f1.max())) and f1.argmax() == 2


def test_an_unknown_metric_is_named():
    with toy.refused("--metric auc"):
        thresholds.choose(SCORES, LABELS, "auc")


def test_an_interval_is_of_a_thousand_resamples_by_the_seed(monkeypatch):
    few = thresholds.interval(SCORES, LABELS, resamples=50)
    assert few != thresholds.interval(SCORES, LABELS, resamples=50, seed=1)
    assert few["value"][0] < 0.75 < few["value"][1] <= 1 and few["threshold"] != few["value"]
    costly = thresholds.interval(SCORES, LABELS, "cost", 50, costs=(100.0, 1.0))
    assert costly["threshold"][0] > few["threshold"][0]
    monkeypatch.setattr(thresholds, "choose", lambda scores, labels, metric: (scores.mean(), labels.mean()))
    assert thresholds.interval(SCORES, LABELS) == thresholds.interval(SCORES, LABELS, "f1", 1000, 0)


def test_platts_targets_are_smoothed():
    """Without smoothing, the slope of separable classes would be infinite; two rows of each: (2 + 1) / (2 + 2)."""
    slope, offset = thresholds.platt(np.array([-1.0, -1, 1, 1]), np.array([0, 0, 1, 1]))
    assert (slope, offset) == pytest.approx((np.log(3), 0), abs=1e-4)
    slope, offset = thresholds.platt(np.array([-1.0, 1, 1]), np.array([0, 1, 1]))
    assert (offset + slope, offset - slope) == pytest.approx((np.log(3), np.log(1 / 2)), abs=1e-4)
