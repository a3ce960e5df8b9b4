"""Metrics of scores: comparisons as trl logs them, ratings, length."""

import numpy as np
import pytest

from plugins.analysis.metrics import preference

NAN = float("nan")


def test_comparisons_without_their_ties():
    rows = np.array([[2.0, 1, 5, 9], [0, 3, 7, 6], [1, 1, 4, 4], [NAN, NAN, NAN, NAN]])
    found = preference.of_pairs(rows)
    rewards = {"mean_reward": 8 / 6, "min_reward": 0, "max_reward": 3}
    assert found == pytest.approx({"accuracy": 0.5, "margin": -2 / 3, **rewards, "length_accuracy": 0.5})


def test_ratings_do_not_depend_on_the_order_of_batches():
    rows = np.array([[0.1, 1, 3, 0], [0.3, 2, 3, 1], [0.2, 2, 9, 2], [0.9, 5, 1, 3]])
    found = preference.of_ratings(rows)
    assert found["accuracy"] == 1 and found["spearman"] == pytest.approx(0.9487, abs=1e-4)
    assert found["length_accuracy"] == pytest.approx((0.5 + 1 + 0 + 0 + 0) / 5)
    assert found == preference.of_ratings(rows[::-1])


def test_equal_ratings_order_nothing():
    assert np.isnan(preference.of_ratings(np.ones((3, 4)))["accuracy"])


def test_equal_scores_have_no_rank_correlation():
    rows = np.array([[1.0, 1, 3, 0], [1, 2, 5, 1], [1, 3, 9, 2]])
    assert preference.of_ratings(rows)["spearman"] == 0


def test_of_many_ratings_pairs_are_drawn(monkeypatch):
    monkeypatch.setattr(preference, "PAIRS", 2000)
    draw = np.random.default_rng(0)
    ratings = np.arange(100.0)
    rows = np.stack([ratings + draw.normal(size=100) * 30, ratings, -ratings, ratings], 1)
    found = preference.of_ratings(rows)
    monkeypatch.setattr(preference, "PAIRS", 10_000)
    assert found["accuracy"] == pytest.approx(preference.of_ratings(rows)["accuracy"], abs=0.04)
    assert found["accuracy"] != preference.of_ratings(rows)["accuracy"]
    assert found["length_accuracy"] == 0


def test_no_comparisons_have_no_metrics():
    found = preference.of_pairs(np.full((2, 4), NAN))
    assert tuple(found) == preference.COMPARED and np.isnan(list(found.values())).all()


def test_comparisons_that_are_all_ties_have_no_metrics():
    found = preference.of_pairs(np.full((2, 4), NAN))
    assert list(found) == list(preference.COMPARED) and np.isnan(list(found.values())).all()
    assert list(preference.of_ratings(np.ones((3, 4)))) == list(preference.RATED)


def test_pairs_of_many_ratings_are_drawn_by_the_seed(monkeypatch):
    draw = np.random.default_rng(0)
    ratings = draw.integers(0, 5, 200)
    rows = np.stack([ratings + draw.normal(size=200), ratings, draw.random(200), np.arange(200)], 1)
    whole = preference.of_ratings(rows)
    monkeypatch.setattr(preference, "PAIRS", 200 * 199 // 2)
    assert preference.of_ratings(rows) == whole, "no more pairs than the limit: all of them"
    monkeypatch.setattr(preference, "PAIRS", 200 * 199 // 2 - 1)
    found = preference.of_ratings(rows)
    assert found["accuracy"] == pytest.approx(whole["accuracy"], abs=0.02) and found != whole
    assert found == preference.of_ratings(rows, seed=1) != preference.of_ratings(rows, seed=2)


def test_equal_scores_count_half_in_either_order():
    rows = np.array([[0.5, 2, 4, 0], [0.5, 1, 9, 1], [0.9, 3, 1, 2]])
    found = preference.of_ratings(rows)
    assert (found["accuracy"], found["length_accuracy"]) == pytest.approx((2.5 / 3, 0))
    assert (found["mean_reward"], found["min_reward"], found["max_reward"]) == pytest.approx((1.9 / 3, 0.5, 0.9))
