"""Fixtures of cross-fitting."""

import numpy as np
import pytest
import toy

from plugins.diagnostics.datasets import Rows
from plugins.glue.cross_fitting import Cell, Setting


@pytest.fixture(scope="module")
def make_cell(toy_data, tmp_path_factory):
    """Make a cell of texts with labels, and its settings; rows after those with a fold are validation rows."""
    folder = tmp_path_factory.mktemp("cell")
    (folder / "model").mkdir()
    (checkpoint,) = toy.save_masked_lm(folder / "model", toy_data).glob("*.pt")

    def make_cell(texts, labels, folds, seeds, given, from_yaml):
        splits = np.repeat([0, 1], [len(folds), len(labels) - len(folds)])
        index = [str(i) for i in range(len(labels))]
        rows = Rows(("text",), [texts], labels, ["a", "b"], splits, ["train", "dev"], index, None)
        return Cell("full", rows, folds), Setting(folder, checkpoint, seeds, given, from_yaml, True, None)

    return make_cell
