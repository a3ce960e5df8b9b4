"""Batches of rows of similar length."""

import pytest

from plugins.data.by_length import cuts


@pytest.mark.parametrize(
    ("lengths", "most", "small", "sizes"),
    [
        ([9, 9, 9, 9, 9], 2, 1, [2, 2, 1]),  # the maximum number of texts
        ([10, 10, 5, 5], 8, 1, [2, 2]),  # padding would be a sixth
        ([10, 10, 9, 8], 8, 1, [4]),  # padding is less than a tenth
        ([10, 10, 5, 5], 8, 40, [4]),  # a small batch, padded or not
        ([7], 8, 1, [1]),
    ],
)
def test_batches_are_cut_where_padding_would_exceed_a_tenth(lengths, most, small, sizes):
    edges = [0, *cuts(lengths, most, small), len(lengths)]
    assert [b - a for a, b in zip(edges, edges[1:], strict=False)] == sizes
