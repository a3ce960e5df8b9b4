"""Results derived from the logits of runs."""

import numpy as np
import pytest

from plugins.diagnostics.datasets import Rows
from plugins.glue import diagnose


def test_validation_rows_are_those_of_the_second_split():
    """Two runs, three validation rows with the labels 1, 1, 0, which the models find, against a prior of one half."""
    labels, splits = np.array([0, 1, 1, 1, 0]), np.array([0, 0, 1, 1, 1])
    texts = [[str(i) for i in range(5)]]
    rows = Rows(("x",), texts, labels, ["no", "yes"], splits, ["train", "dev"], texts[0], None)
    right = np.where(np.arange(2) == labels[splits == 1][:, None], 4.0, -4.0)  # (3, 2)
    found = diagnose.on_valid(np.stack([right, right]), rows, labels[splits == 0])
    assert found["split"] == "dev" and found["accuracy"] == 1
    wrong = diagnose.on_valid(np.stack([-right, -right]), rows, labels[splits == 0])
    assert wrong["accuracy"] == pytest.approx(0)
