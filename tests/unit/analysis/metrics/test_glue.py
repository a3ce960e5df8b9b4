"""GLUE's metrics, against scikit-learn and scipy."""

import math

import numpy as np
import pytest

from plugins.analysis.metrics import glue

CLASSES = ("accuracy", "f1", "matthews_correlation")


def draw(seed, classes):
    generator = np.random.default_rng(seed)
    targets = generator.integers(classes, size=400)
    predictions = np.where(generator.random(400) < 0.6, targets, generator.integers(classes, size=400))
    return predictions, targets


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_agree_with_scikit_learn(seed):
    from sklearn import metrics

    predictions, targets = draw(seed, 2)
    found = glue.scores(CLASSES, predictions, targets)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predictions), abs=1e-9)
    assert found["f1"] == pytest.approx(metrics.f1_score(targets, predictions), abs=1e-9)
    assert found["matthews_correlation"] == pytest.approx(metrics.matthews_corrcoef(targets, predictions), abs=1e-9)


def test_matthews_correlation_of_three_classes_agrees_with_scikit_learn():
    from sklearn.metrics import matthews_corrcoef

    predictions, targets = draw(7, 3)
    assert glue.matthews_correlation(predictions, targets) == pytest.approx(
        matthews_corrcoef(targets, predictions), abs=1e-9
    )


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_agree_with_scipy(ties):
    from scipy import stats

    generator = np.random.default_rng(3)
    targets = generator.uniform(0, 5, 300)
    predictions = targets + generator.normal(0, 1, 300)
    if ties:
        targets, predictions = targets.round(), predictions.round()
    found = glue.scores(("pearson", "spearmanr", "combined_score"), predictions, targets)
    assert found["pearson"] == pytest.approx(stats.pearsonr(predictions, targets)[0], abs=1e-9)
    assert found["spearmanr"] == pytest.approx(stats.spearmanr(predictions, targets)[0], abs=1e-9)
    assert found["combined_score"] == pytest.approx((found["pearson"] + found["spearmanr"]) / 2)


def test_combined_score_is_the_mean_of_the_others():
    found = glue.scores(("accuracy", "f1", "combined_score"), [1, 1, 0, 0], [1, 0, 0, 0])
    assert found == pytest.approx({"accuracy": 0.75, "f1": 2 / 3, "combined_score": (0.75 + 2 / 3) / 2})


@pytest.mark.parametrize("name", ["matthews_correlation", "pearson", "spearmanr"])
def test_a_constant_prediction_has_no_correlation(name):
    assert glue.scores((name,), [1, 1, 1], [0, 1, 1]) == {name: 0.0}


def test_f1_without_positives_is_0():
    assert glue.f1(np.zeros(3), np.zeros(3)) == 0


@pytest.mark.parametrize("low", [0, -5])
def test_the_published_loss_of_stsb(low):
    """A constant 2.5 for labels 0 and 5 is off by half of the scale: 0.25 / ln 2."""
    mse = glue.mean_squared_error([low + 2.5, low + 2.5], [low, low + 5])
    assert glue.published_loss(mse, (low, low + 5)) == pytest.approx(0.25 / math.log(2))


def test_the_baseline_answers_the_training_labels_majority():
    found = glue.baseline(("accuracy",), np.array([1, 1, 0]), np.array([0, 0, 0, 1]), regression=False)
    assert found == {"accuracy": 0.25}


def test_collapse_is_one_class_nearly_throughout():
    assert glue.collapsed(np.array([1] * 99 + [0]))
    assert not glue.collapsed(np.array([1] * 98 + [0] * 2))
    assert glue.collapsed(np.full(10, 2.7) + np.linspace(0, 0.01, 10), (0, 5))
    assert not glue.collapsed(np.linspace(0, 5, 10), (0, 5))


def test_the_baseline_of_a_regression_answers_the_mean_of_the_training_labels(monkeypatch):
    monkeypatch.setitem(glue.FUNCTIONS, "first", lambda predictions, targets: float(predictions[0]))
    assert glue.baseline(("first",), np.array([0.0, 1.0, 5.0]), np.array([3.0, 3.0]), regression=True) == {"first": 2.0}


@pytest.mark.parametrize("name", ["matthews_correlation", "pearson", "spearmanr"])
def test_a_constant_target_has_no_correlation_either(name):
    assert glue.scores((name,), [0, 1, 1], [1, 1, 1]) == {name: 0.0}


def test_constants_correlate_0_although_their_mean_is_rounded():
    """0.1 three times has a mean that is not 0.1."""
    assert glue.pearson(np.array([0.1] * 3), np.array([0.0, 1.0, 2.0])) == 0.0
    assert glue.pearson(np.array([0.0, 1.0, 2.0]), np.array([0.1] * 3)) == 0.0


def test_the_majority_is_the_most_frequent_label_and_of_equals_the_smaller():
    assert glue.majority(np.array([2, 1, 2, 0])) == 2 and glue.majority(np.array([1, 0])) == 0


def test_f1_is_of_class_1():
    assert glue.f1(np.array([1, 1, 0, 0, 0]), np.array([1, 0, 0, 0, 1])) == 0.5


def test_a_regression_collapses_at_a_hundredth_of_its_scale():
    around = np.array([1.0, -1.0] * 5)  # of deviation 1
    assert glue.collapsed(0.049 * around, (0, 5)) and not glue.collapsed(0.051 * around, (0, 5))
