"""Rankings aggregated; see also test_specifications.py."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import rank_aggregation

SCORES = np.array([[3.0, 1, 2], [9, 2, 5], [0, 4, 2]])  # ranks (1, 3, 2), (1, 3, 2), (3, 1, 2)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("mean", [4, 7 / 3, 3]), ("median", [-1, -3, -2]), ("borda", [-5 / 3, -7 / 3, -2]),
     ("rrf", [2 / 61 + 1 / 63, 2 / 63 + 1 / 61, 3 / 62])],
)  # fmt: skip
def test_three_rankings(method, expected):
    np.testing.assert_allclose(rank_aggregation.aggregate(SCORES, method), expected)


def test_one_ranking_is_a_row_and_reciprocal_ranks_are_the_default():
    np.testing.assert_allclose(rank_aggregation.aggregate([5.0, 7.0]), [1 / 62, 1 / 61])


def test_nan_is_refused():
    with toy.refused("scores", "NaN"):
        rank_aggregation.aggregate([[1.0, np.nan]])
