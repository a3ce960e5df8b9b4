"""The predicted positions of a batch."""

import numpy as np
import pytest

from plugins.data.predicted import predicted


@pytest.mark.parametrize(
    ("target", "rows", "count", "most"),
    [
        ([[1, 5, 6], [7, 1, 1]], [1, 2, 3], 3, 2),
        ([[1, 1], [1, 1]], [], 0, 0),
        ([[5, 6], [7, 8]], None, 4, 2),  # all positions
    ],
)
def test_predicted_positions_are_those_that_are_not_padding(target, rows, count, most):
    found = predicted(np.array(target), pad=1)
    assert (None if found["rows"] is None else found["rows"].tolist()) == rows
    assert (found["count"], found["most"]) == (count, most)


def test_a_batch_without_rows_has_none():
    assert predicted(np.zeros((0, 4), int), 1)["most"] == 0
