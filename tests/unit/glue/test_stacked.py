"""Cross-fitting with stacked models: rows are predicted by models that did not train on them."""

from dataclasses import replace

import numpy as np
import pytest
import toy

from plugins.errors import UserError
from plugins.glue import stacked
from plugins.glue.cross_fitting import Cell

TRAIN, VALID = 48, 8


@pytest.fixture(scope="module")
def made(make_cell):
    labels = np.random.default_rng(0).integers(2, size=TRAIN + VALID)
    words = toy.sentences(2)
    texts, given = [words[label] for label in labels], {"epochs": 5, "lr": [5e-3], "batch_size": [8]}
    from_yaml = {"pooler_type": "mean", "clip_norm": 1.0}
    return make_cell(texts, labels, np.arange(TRAIN) % 3, [1, 2], given, from_yaml)


def test_separable_classes_are_learned_out_of_fold(made):
    cell, setting = made
    found = stacked.run([cell], setting)["full"]
    assert [values.shape for values in found.held_out] == [(2, TRAIN, 2)] * 5
    assert [values.shape for values in found.valid] == [(6, VALID, 2)] * 5
    for place, epochs in enumerate(found.training):
        for values in epochs:
            assert (np.isnan(values).all(1) == (cell.folds == place % 3)).all()
    last = found.held_out[-1]
    assert ((last.argmax(-1) == cell.rows.labels[:TRAIN]).mean(1) > 0.9).all()
    assert np.abs(last[0] - last[1]).max() > 0.01


def test_the_label_of_a_row_does_not_affect_its_prediction(made):
    cell, setting = made
    setting = replace(setting, seeds=[1], given=setting.given | {"epochs": 1}, from_yaml={"dropout": 0.0})
    labels = cell.rows.labels.copy()
    labels[:TRAIN][cell.folds == 0] = 1 - labels[:TRAIN][cell.folds == 0]
    other = Cell("changed", replace(cell.rows, labels=labels), cell.folds)
    found = stacked.run([cell, other], setting)
    one, two = (found[name].held_out[-1] for name in ("full", "changed"))
    np.testing.assert_allclose(one[:, cell.folds == 0], two[:, cell.folds == 0], atol=1e-4)
    assert np.abs(one[:, cell.folds == 1] - two[:, cell.folds == 1]).max() > 0.01


def test_what_is_not_supported_is_named(made):
    cell, setting = made
    with pytest.raises(UserError, match="layer_lr_decay"):
        stacked.run([cell], replace(setting, from_yaml={"layer_lr_decay": 0.9}))
