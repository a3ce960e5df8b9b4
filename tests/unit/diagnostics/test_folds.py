"""Folds: labels spread evenly, groups kept whole."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import augmentation, curves, folds, planting


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
    with toy.refused("--folds", 5, 3):
        folds.stratified([0, 1, 0], 5)


@pytest.mark.parametrize(
    ("flag", "split"),
    [
        ("--held-out 0.1", lambda: augmentation.split(np.array([0, 1, 0]), 0.1, 1)),
        ("--sizes 0.5", lambda: curves.nested(np.array([0, 1]), 0.5, np.array([0, 0]))),
        ("--kinds annotator", lambda: planting.weak_probabilities(["a"] * 4, np.array([0, 1, 0, 1]), 2)),
    ],
)
def test_the_flag_that_determines_the_number_of_folds_is_named(flag, split):
    with toy.refused(flag) as raised:
        split()
    assert "--folds" not in str(raised.value)


def test_no_fold_is_empty_even_if_each_class_is_one_text():
    assert sorted(folds.stratified(np.array([0, 1] * 5), 2, np.array([0, 1] * 5)).tolist()) == [0] * 5 + [1] * 5
    found = folds.stratified(np.array([0, 0, 1, 1, 2, 2, 2]), 4, np.array([0, 0, 1, 1, 2, 2, 3]))
    assert len(np.unique(found)) == 4


def test_as_many_folds_as_groups_and_two_at_least():
    assert sorted(folds.stratified(np.zeros(3, int), 3).tolist()) == [0, 1, 2]
    for number in (1, 4):
        with toy.refused(f"--folds {number}"):
            folds.stratified(np.zeros(3, int), number)
    with toy.refused("groups", 2, 3):
        folds.stratified(np.zeros(3, int), 2, np.zeros(2, int))


def test_large_groups_go_where_their_labels_are_rarest():
    """Groups of six rows first, then of four, then of two; each label is in either fold as often."""
    labels = np.repeat([0, 1, 0, 1, 0, 0, 1, 1], [6, 6, 6, 6, 4, 4, 2, 2])
    groups = np.repeat(np.arange(8), [6, 6, 6, 6, 4, 4, 2, 2])
    for seed in range(6):
        found = folds.stratified(labels, 2, groups, seed)
        assert np.bincount(found[labels == 0]).tolist() == [10, 10] and np.bincount(found[labels == 1]).tolist() == [
            8,
            8,
        ]


def test_a_rare_label_weighs_as_much_as_a_frequent_one():
    """The last large group has both labels; its fold is the one without the rare label."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1, 0] + [0] * 30)
    groups = np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, *range(3, 33)])
    for seed in range(6):
        found = folds.stratified(labels, 2, groups, seed)
        assert found[0] != found[8]


@pytest.mark.parametrize(
    ("have", "filled", "number", "expected"),
    [
        ([0, 2, 5], [0, 0, 0], 2, [2, 0, 0]), ([0, 2, 5], [0, 0, 0], 4, [3, 1, 0]),
        ([5, 0, 2], [0, 0, 0], 8, [0, 5, 3]), ([0, 2, 5], [3, 2, 1], 10, [5, 4, 1]),
        ([0, 2, 5], [0, 0, 0], 11, [6, 4, 1]), ([1, 1, 1], [9, 4, 7], 2, [0, 1, 1]),
        ([0, 0], [5, 3], 3, [1, 2]), ([3, 3], [0, 0], 0, [0, 0]),
    ],
)  # fmt: skip
def test_rows_level_the_folds_and_the_rest_goes_to_the_least_filled(have, filled, number, expected):
    assert folds._levelled(np.array(have), np.array(filled), number).tolist() == expected


def test_a_class_of_as_many_rows_as_folds_is_not_small():
    assert folds.small_classes(np.repeat([3, 4, 7], [5, 4, 1]), 5) == [4, 7]


def test_scores_are_binned_by_deciles():
    """Each decile of 20 rows is spread over the folds, which chance would not do."""
    scores = np.random.default_rng(0).permutation(200).astype(float)
    found = folds.stratified(scores, 5)
    for low in range(0, 200, 20):
        own = found[(scores > low) & (scores < low + 19)]
        assert np.bincount(own, minlength=5).min() >= 2
