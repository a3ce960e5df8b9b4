"""Batches of rows of similar length."""

import numpy as np
import pytest
import toy

from plugins.data.by_length import ByLength, cuts


def batches(sizes, max_tokens=None, max_sentences=None, longest=100, multiple=1):
    rows = ByLength(np.array(sizes), longest, multiple)
    return [len(batch) for batch in rows.batch_by_size(range(len(sizes)), max_tokens, max_sentences, 8)]


@pytest.mark.parametrize(
    ("sizes", "limits", "expected"),
    [
        ([4, 4, 4, 4, 4], {"max_sentences": 2}, [2, 2, 1]),
        ([4, 4, 4], {"max_tokens": 8}, [2, 1]),  # exactly full
        ([4, 4, 4], {"max_tokens": 7}, [1, 1, 1]),
        ([1, 5, 5], {"max_tokens": 10}, [2, 1]),  # padding counts: 2 rows of 5, not 6 tokens
        ([5, 1, 1, 5], {"max_tokens": 10}, [2, 2]),  # a new batch forgets the longest row of the one before
        ([3, 3, 3], {"max_tokens": 8, "multiple": 4}, [2, 1]),  # padded to 4
        ([9, 9], {"max_tokens": 20, "multiple": 8, "longest": 10}, [2]),  # padded to 10, not 16
        ([1] * 600, {}, [512, 88]),
        ([1] * 600, {"max_sentences": 600}, [512, 88]),
        ([], {}, []),
        ([8], {"max_tokens": 8}, [1]),
    ],
)
def test_a_batch_has_as_many_rows_as_fit_with_their_padding(sizes, limits, expected):
    assert batches(sizes, **limits) == expected


@pytest.mark.parametrize("sizes", [[9], [2, 9]])
def test_a_row_longer_than_a_batch_is_refused(sizes):
    with toy.refused("--max-tokens 8", 9, "--max-positions"):
        batches(sizes, max_tokens=8)


def test_rows_are_ordered_by_length_and_equal_lengths_by_number():
    rows = ByLength(np.array([3, 1, 2, 1, 3, 1] * 10), 9)
    order = rows.ordered_indices()
    assert order.tolist() == sorted(range(60), key=lambda i: (rows.sizes[i], i))
    assert rows.can_reuse_epoch_itr_across_epochs and not rows.supports_prefetch


def test_shuffled_rows_follow_the_seed_and_lengths_within_a_tenth():
    rows = ByLength(np.arange(100, 200), 200, shuffle=True)
    orders = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        orders.append(rows.ordered_indices())
    assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).any()
    assert sorted(orders[0]) == list(range(100))
    sizes = rows.sizes[orders[0]]
    assert (sizes >= np.maximum.accumulate(sizes) * 9 / 11).all() and (np.diff(sizes) < -10).any()
    assert not rows.can_reuse_epoch_itr_across_epochs


def test_sizes_are_reported_to_fairseq():
    rows = ByLength(np.array([3, 1, 2]), 9)
    assert (len(rows), rows.num_tokens(0), rows.size(2)) == (3, 3, 2)
    assert rows.num_tokens_vec(np.array([2, 0])).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("lengths", "most", "small", "sizes"),
    [
        ([9, 9, 9, 9, 9], 2, 1, [2, 2, 1]),  # the maximum number of texts
        ([10, 10, 5, 5], 8, 1, [2, 2]),  # padding would be a sixth
        ([10, 10, 9, 8], 8, 1, [4]),  # padding is less than a tenth
        ([10, 8], 8, 1, [2]),  # padding is exactly a tenth
        ([10, 9, 7], 8, 1, [2, 1]),  # padding is more than a tenth
        ([10, 10, 5, 5], 8, 40, [4]),  # a small batch, padded or not
        ([10, 10, 5, 5], 8, 39, [3, 1]),
        ([20, 10, 5, 4], 8, 1, [1, 1, 2]),  # each batch counts its own padding
        ([7], 8, 1, [1]),
    ],
)
def test_batches_are_cut_where_padding_would_exceed_a_tenth(lengths, most, small, sizes):
    edges = [0, *cuts(lengths, most, small), len(lengths)]
    assert [b - a for a, b in zip(edges, edges[1:], strict=False)] == sizes
