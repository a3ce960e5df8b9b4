"""Scores of frozen features."""

import numpy as np
import pytest
import toy

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
