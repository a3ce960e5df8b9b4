"""Scores of frozen features."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics.retrieval import class_metrics
from plugins.analysis.transfer import transferability

E = np.array([(1, 0), (0.8, 0.6), (0.6, -0.8), (0, 1), (-0.6, 0.8), (-1, 0)])
SPLIT, MIXED = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 0, 1])


def test_logme_of_six_rows():
    assert transferability.logme(E, SPLIT) == pytest.approx(-1.00180797, abs=1e-6)
    assert transferability.logme(E, MIXED) == pytest.approx(-1.07236511, abs=1e-6)


@pytest.mark.parametrize("score", transferability.SCORES.values(), ids=transferability.SCORES)
def test_features_that_have_the_classes_score_higher_than_random_ones(score):
    draw = np.random.default_rng(0)
    labels = np.arange(90) % 3
    noise = draw.normal(size=(90, 6))
    assert score(noise + 3 * np.eye(6)[labels], labels) > score(noise, labels) + 0.05


def test_linear_information_is_at_most_the_entropy_of_the_classes():
    labels = np.arange(60) % 2
    features = 20.0 * np.eye(2)[labels] + np.random.default_rng(0).normal(size=(60, 2))
    found = transferability.linear_information(features, labels)
    assert 0.6 < found <= np.log(2)


def test_one_class_is_refused():
    with toy.refused("classes"):
        transferability.logme(E, np.zeros(6))


def test_the_h_score_is_that_of_centered_features():
    """tr(cov(f)^-1 cov(E[f | y])) by np.cov, of features far from the origin."""
    assert transferability.h_score(E + 3, SPLIT) == pytest.approx(0.925925925925926)
    assert transferability.h_score(E, SPLIT) == pytest.approx(0.925925925925926)


def test_the_h_score_of_three_classes():
    """Between-class over total variance of one feature: means 1, 4, 10 of pairs that differ by 2."""
    feature, labels = np.array([[0.0], [2], [3], [5], [9], [11]]), np.array([0, 0, 1, 1, 2, 2])
    assert transferability.h_score(feature, labels) == pytest.approx(84 / 90)


def test_a_class_needs_as_many_rows_as_folds():
    labels = np.repeat([0, 1], [5, 9])
    features = np.random.default_rng(0).normal(size=(14, 2))
    found = transferability.linear_information(features, labels)
    assert found == transferability.linear_information(features, labels, 5, 0)
    assert found != transferability.linear_information(features, labels, seed=1)
    with toy.refused(6):
        transferability.linear_information(features, labels, folds=6)


def test_few_rows_are_judged_by_their_nearest():
    assert transferability.nearest_neighbor(E[:4], np.array([0, 0, 1, 1])) in (0.25, 0.5, 0.75, 1.0)
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(40, 3)), np.arange(40) % 2
    assert transferability.nearest_neighbor(features, labels) == class_metrics(features, labels, (5,))["knn_accuracy_5"]


def test_logme_does_not_depend_on_unused_dimensions_and_prefers_fewer():
    """Zero features have nothing to explain, as in the evidence of a wider prior."""
    wide = np.hstack([E, np.zeros((6, 2))])
    assert transferability.logme(wide, SPLIT) == pytest.approx(transferability.logme(E, SPLIT), abs=1e-6)


def test_logme_is_the_maximum_of_the_evidence():
    """Against the log density of y under N(0, F F' / alpha + 1 / beta) at the best precisions of a grid."""
    from scipy.stats import multivariate_normal

    f = np.random.default_rng(3).normal(size=(12, 2))
    labels = (f[:, 0] + 0.5 * np.random.default_rng(4).normal(size=12) > 0).astype(int)

    def best(y):
        grid = np.exp(np.linspace(-3, 5, 81))
        return max(
            multivariate_normal.logpdf(y, np.zeros(12), f @ f.T / alpha + np.eye(12) / beta) / 12
            for alpha in grid for beta in grid
        )  # fmt: skip

    expected = np.mean([best((labels == k).astype(float)) for k in (0, 1)])
    assert transferability.logme(f, labels) == pytest.approx(expected, abs=1e-3)
