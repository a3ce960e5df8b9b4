"""Folds: labels spread evenly, groups kept whole."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import folds


@pytest.mark.parametrize("seed", range(5))
def test_folds_never_split_a_group_and_stay_even(seed):
    random = np.random.default_rng(seed)
    labels = random.choice(3, 3000, p=[0.7, 0.25, 0.05])
    groups = random.integers(2000, size=3000)
    found = folds.stratified(labels, 5, groups, seed)
    assert all(len(np.unique(found[groups == g])) == 1 for g in np.unique(groups))
    for k in range(3):
        counts = np.bincount(found[labels == k], minlength=5)
        assert np.ptp(counts) <= max(12, 0.1 * counts.mean())
    assert np.ptp(np.bincount(found, minlength=5)) <= 30


def test_fold_sizes_differ_by_at_most_one_row():
    labels = np.repeat([0, 1, 2], [101, 52, 3])
    found = folds.stratified(labels, 5)
    for k in range(3):
        assert np.ptp(np.bincount(found[labels == k], minlength=5)) <= 1
    assert np.ptp(np.bincount(found, minlength=5)) <= 1


def test_the_seed_decides():
    labels = np.arange(100) % 2
    assert (folds.stratified(labels, 4, seed=1) == folds.stratified(labels, 4, seed=1)).all()
    assert (folds.stratified(labels, 4, seed=1) != folds.stratified(labels, 4, seed=2)).any()


def test_scores_are_spread_by_size():
    scores = np.linspace(0, 5, 1000)
    found = folds.stratified(scores, 5)
    means = [scores[found == k].mean() for k in range(5)]
    assert np.ptp(means) < 0.2


def test_one_large_group():
    found = folds.stratified(np.zeros(100, int), 3, np.r_[np.zeros(60, int), np.arange(1, 41)])
    assert sorted(np.bincount(found).tolist()) == [20, 20, 60]


def test_a_class_smaller_than_the_folds_is_named():
    assert folds.small_classes(np.array([0] * 10 + [2] * 3), 5) == [2]


def test_too_many_folds_are_refused():
    with toy.refused(5, 3):
        folds.stratified([0, 1, 0], 5)


def test_no_fold_is_empty_even_if_each_class_is_one_text():
    assert sorted(folds.stratified(np.array([0, 1] * 5), 2, np.array([0, 1] * 5)).tolist()) == [0] * 5 + [1] * 5
    found = folds.stratified(np.array([0, 0, 1, 1, 2, 2, 2]), 4, np.array([0, 0, 1, 1, 2, 2, 3]))
    assert len(np.unique(found)) == 4
