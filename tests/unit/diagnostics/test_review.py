"""The review loop: its regression, and that it finds more than a fixed order (notes of planted, one-way noise)."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import beta, binomtest

from plugins.diagnostics import confident, review


def test_the_regression_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 5))
    y = x[:, 0] + random.normal(size=80) > 0.5
    model = linear_model.LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x, y)
    prior = review.Prior(np.zeros(6), np.array([2.0] * 5 + [1e-9]))
    np.testing.assert_allclose(review.fit(x, y, prior), [*model.coef_[0], model.intercept_[0]], atol=1e-4)


def test_more_features_than_judgments_are_solved():
    x = np.random.default_rng(0).normal(size=(10, 40))
    weights = review.fit(x, np.arange(10) % 2 == 0, review.Prior(np.zeros(41), np.full(41, 0.1)))
    assert np.isfinite(weights).all() and (review.probability(x, weights) > 0.5).tolist() == [True, False] * 5


PRIOR = review.prior(4)


def planted(seed, rows=1500, classes=4):
    """Four classes of which two are alike; a quarter of class 0 is labeled 1, nothing else is wrong."""
    random = np.random.default_rng(seed)
    true = random.integers(classes, size=rows)
    alike = np.eye(classes)[(true + 2) % classes] * (random.random((rows, 1)) < 0.5)
    logits = 2.2 * np.eye(classes)[true] + 1.2 * alike + random.normal(0, 1.0, (rows, classes))
    given = np.where((true == 0) & (random.random(rows) < 0.25), 1, true)
    return log_softmax(logits, axis=1), given, given != true


def test_the_loop_finds_more_than_self_confidence():
    """Eight plantings, sign test."""
    wins = 0
    for seed in range(8):
        log_p, given, wrong = planted(seed)
        start = confident.scores(np.exp(log_p), given)
        _, said = review.simulate(review.features(log_p, given), start, lambda row, wrong=wrong: wrong[row], 100, PRIOR)
        wins += said.sum() > wrong[np.argsort(start, kind="stable")[:100]].sum()
    assert binomtest(wins, 8, alternative="greater").pvalue < 0.05


def test_every_row_is_shown_once():
    log_p, given, wrong = planted(0, rows=130)
    shown, _ = review.simulate(review.features(log_p, given), np.arange(130.0), lambda row: wrong[row], 1000, PRIOR)
    assert sorted(shown.tolist()) == list(range(130))


def test_without_judgments_the_weights_are_the_priors_mean():
    weights = review.fit(np.zeros((0, 24)), np.zeros(0, bool), PRIOR)
    np.testing.assert_allclose(weights, PRIOR.mean)


def test_a_label_that_is_always_right_is_shown_later():
    """A static order begins with 20 rows of label 0, all right; the next ones have other labels."""
    log_p, given, _ = planted(0, rows=400)
    start = np.where(given == 0, 0.0, 1.0)
    shown, _ = review.simulate(review.features(log_p, given), start, lambda row: given[row] != 0, 40, PRIOR)
    assert (given[shown[:20]] == 0).all() and (given[shown[20:]] != 0).all()


def test_one_wrong_answer_hardly_moves_a_prior_of_certainty():
    prior = review.Prior(np.array([3.0, -1.0]), np.array([1e9, 1e9]))
    np.testing.assert_allclose(review.fit(np.ones((1, 1)), np.array([False]), prior), [3.0, -1.0], atol=1e-6)


def test_the_stopping_rule():
    table = review.stopping_table()
    assert table[0][1] < review.FEW < table[1][1]
    assert table[4] == pytest.approx(beta.interval(0.9, 5, 37), abs=1e-4)


def test_the_interval_is_that_of_a_beta_posterior():
    """Of 3 judgments; of none wrong, the bounds are 1 - 0.95 ** (1/4) and 1 - 0.05 ** (1/4)."""
    assert review.stopping_table(3) == [[0.0127, 0.5271], [0.0976, 0.7514], [0.2486, 0.9024], [0.4729, 0.9873]]


def test_the_prior_weighs_scores_and_leaves_labels_open():
    found = review.prior(2)
    assert found.mean.tolist() == [1, 0, 0, -1, *[0] * 6, -2]
    np.testing.assert_allclose(found.precision, [10] * 4 + [1] * 6 + [0.25])


def test_features_are_standardized_numbers_and_indicators():
    log_p = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.5, 0.25], [0.6, 0.3, 0.1]])
    x = review.features(log_p, np.array([0, 1, 1, 0]))
    assert x.shape == (4, 4 + 3 + 9)
    np.testing.assert_allclose(x[:, :4].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(x[:, :4].std(0), 1)
    odds = np.log([0.2 / 0.7, 0.6 / 0.3, 0.25 / 0.5, 0.3 / 0.6])
    np.testing.assert_allclose(np.corrcoef(x[:, 0], odds)[0, 1], 1)
    np.testing.assert_allclose(np.corrcoef(x[:, 1], -np.log([0.7, 0.3, 0.5, 0.6]))[0, 1], 1)
    np.testing.assert_allclose(np.corrcoef(x[:, 2], np.log([0.7, 0.6, 0.5, 0.6]))[0, 1], 1)
    adjusted = confident.scores(np.exp(log_p), np.array([0, 1, 1, 0]), "normalized_margin", adjust=True)
    np.testing.assert_allclose(np.corrcoef(x[:, 3], adjusted)[0, 1], 1)
    assert x[:, 4:7].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert [int(row.argmax()) for row in x[:, 7:]] == [1, 5, 3, 1] and (x[:, 7:].sum(1) == 1).all()
    assert (review.features(log_p[[0, 0]], np.array([0, 0]))[:, :4] == 0).all(), "equal rows have no spread"


def test_batches_are_ranked_again_after_each():
    """The feature of wrong rows is seen in the first batch of two; the next batch has the rest of them."""
    x = np.array([[0.0], [1], [0], [1], [0], [1]])
    prior = review.Prior(np.zeros(2), np.array([0.01, 1.0]))
    shown, said = review.simulate(x, np.arange(6.0), lambda row: x[row, 0] > 0, 5, prior, every=2)
    assert shown.tolist() == [0, 1, 3, 5, 2] and said.tolist() == [False, True, True, True, False]
    assert review.probability(np.array([[2.0]]), np.array([1.0, -2.0])).tolist() == [0.5]
