"""Batches of P classes x K rows."""

import numpy as np
import pytest
import toy

from plugins.data.embedding import batches

SIZES = {
    "equal": [40, 40, 40, 40],
    "ninety to ten": [90, 10],
    "one large": [101, 7, 3, 2, 2],
    "odd and small": [3, 3, 3],
    "two rows each": [2] * 9,
    "many classes": [5, 4, 3] * 20,
}


def labels_of(sizes):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def epoch(labels, p, k, seed=0):
    return batches.by_class(labels, p, k, np.random.default_rng(seed))


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("p", "k"), [(2, 2), (2, 8), (3, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_every_batch_has_two_classes_with_two_rows_and_every_row_is_seen(sizes, p, k, seed):
    labels = labels_of(sizes)
    found = epoch(labels, min(p, len(sizes)), k, seed)
    for batch in found:
        assert len(set(batch)) == len(batch)
        assert (np.unique(labels[batch], return_counts=True)[1] >= 2).sum() >= 2
    times = np.bincount(np.concatenate(found), minlength=len(labels))
    assert times.min() >= 1
    assert (times[labels == np.argmax(sizes)] == 1).all()


def test_no_large_class_is_cut_short():
    """The sampler of sentence-transformers 6.2 stops when one label is left: it would make 4 batches of 90:10."""
    labels = labels_of([90, 10])
    found = epoch(labels, 2, 4)
    assert len(found) == 23
    assert set(np.concatenate(found)) == set(range(100))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("sizes", "p", "k", "expected"),
    [
        ([8, 8, 8, 8], 2, 4, [8] * 4),  # two classes x four rows
        ([12, 4, 4], 3, 2, [6] * 6),  # small classes are repeated
        ([5, 5], 2, 2, [4, 6]),  # chunks of two and three rows: none of one
        ([4, 4, 4], 2, 4, [12]),  # a last single class joins the batch before it
        ([9, 3], 2, 9, [12]),
    ],
)
def test_batches_have_p_classes_and_about_k_rows_of_each(sizes, p, k, expected, seed):
    labels = labels_of(sizes)
    found = epoch(labels, p, k, seed)
    assert sorted(map(len, found)) == expected
    assert all(len(set(labels[batch])) == (p if len(found) > 1 else len(sizes)) for batch in found)


def test_epochs_differ_and_a_seed_repeats():
    labels = labels_of([20, 20])
    first, again, other = (np.concatenate(epoch(labels, 2, 4, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_class_of_one_row_is_left_out_with_a_warning(caplog):
    labels = np.array([0, 0, 1, 1, 2])
    assert batches.check_classes(labels, "a file") == 2
    assert "a file: 1 classes have one row" in caplog.text
    caplog.clear()
    assert 4 not in np.concatenate(epoch(labels, 2, 2))
    assert not caplog.text  # not again in each epoch


@pytest.mark.parametrize("labels", [[0] * 8, [0, 0, 1, 2], [0, 1, 2]])
def test_one_usable_class_is_refused(labels):
    with toy.refused("a file", "classes"):
        batches.check_classes(np.array(labels), "a file")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((32, 4), (4, 8)),
        ((8, 100), (4, 2)),
        ((32, 2), (2, 16)),
        ((32, 10, 5), (5, 6)),
        ((32, 10, None, 4), (8, 4)),
        ((8, 2, 2, 2), (2, 2)),
        ((8, 10, 4, 2), (4, 2)),
        ((4, 9), (2, 2)),
        ((32, 3, None, 4), (3, 4)),
    ],
)
def test_the_shape_of_a_batch_follows_from_the_options(arguments, expected):
    assert batches.shape(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((3, 4), "--batch-size 3: 2 classes x 3 rows"), ((32, 4, 5), "--classes-per-batch 5"),
     ((32, 4, 4, 1), "--rows-per-class 1"), ((32, 4, 1), "--classes-per-batch 1"),
     ((8, 4, 4, 4), "--batch-size 8: 4 classes x 4 rows"), ((1, 4), "--batch-size 1: 2 classes x 2 rows"),
     ((5, 4, 3), "--batch-size 5: 3 classes x 2 rows")],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_refused(arguments, named):
    with toy.refused(named):
        batches.shape(*arguments)
