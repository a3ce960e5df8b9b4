"""Heads on fixed features: rows are predicted by heads that did not train on them, separable classes are learned."""

from pathlib import Path

import numpy as np
import pytest
import torch
import toy

from plugins.diagnostics.datasets import Rows
from plugins.glue import frozen
from plugins.glue.cross_fitting import Cell, Setting

SEEDS, FOLDS, TRAIN, VALID = [1, 2], 3, 90, 12


def made(scores=None, used=None, **given):
    random = np.random.default_rng(0)
    labels = random.integers(2, size=TRAIN + VALID)
    x = torch.from_numpy(random.normal(size=(len(labels), 6)).astype(np.float32))
    x[:, 0] += torch.from_numpy(4.0 * labels - 2.0)
    texts = [[str(i) for i in range(len(labels))]]
    splits = np.repeat([0, 1], [TRAIN, VALID])
    scores = None if scores is None else scores(x.numpy())
    rows = Rows(("text",), texts, labels, ["a", "b"], splits, ["train", "dev"], texts[0], scores)
    setting = Setting(
        Path("."), Path("."), SEEDS, {"epochs": 4, "lr": [0.01], "batch_size": [16]} | given, {}, True, None
    )
    return x, Cell("full", rows, np.arange(TRAIN) % FOLDS, used), setting


def test_rows_are_predicted_by_heads_that_did_not_train_on_them():
    x, cell, setting = made()
    found = frozen.trained(x, cell, setting)
    assert [values.shape for values in found.held_out] == [(2, TRAIN, 2)] * 4
    assert [values.shape for values in found.valid] == [(6, VALID, 2)] * 4
    assert len(found.training) == 6
    for place, epochs in enumerate(found.training):
        for values in epochs:
            assert (np.isnan(values).all(1) == (cell.folds == place % FOLDS)).all()


def test_separable_classes_are_learned_and_seeds_differ():
    x, cell, setting = made()
    last = frozen.trained(x, cell, setting).held_out[-1]
    assert ((last.argmax(-1) == cell.rows.labels[:TRAIN]).mean(1) > 0.9).all()
    assert np.abs(last[0] - last[1]).max() > 0.01


def test_the_label_of_a_row_does_not_affect_its_prediction():
    x, cell, setting = made()
    before = frozen.trained(x, cell, setting).held_out[-1]
    changed = cell.rows.labels.copy()
    changed[:TRAIN][cell.folds == 0] = 1 - changed[:TRAIN][cell.folds == 0]
    rows = Rows(*(getattr(cell.rows, n) for n in ("columns", "texts")), changed, *(
        getattr(cell.rows, n) for n in ("classes", "splits", "split_names", "index")))  # fmt: skip
    after = frozen.trained(x, Cell("full", rows, cell.folds), setting).held_out[-1]
    np.testing.assert_allclose(before[:, cell.folds == 0], after[:, cell.folds == 0], atol=1e-5)
    assert np.abs(before[:, cell.folds == 1] - after[:, cell.folds == 1]).max() > 0.1


def test_only_the_rows_of_a_smaller_size_are_trained_on():
    used = np.arange(TRAIN) < 30
    x, cell, setting = made(used=used)
    for place, epochs in enumerate(frozen.trained(x, cell, setting).training):
        assert (np.isfinite(epochs[-1]).all(1) == (used & (cell.folds != place % FOLDS))).all()


def test_scores_are_predicted_on_their_scale():
    x, cell, setting = made(scores=lambda x: 100 + 10 * x[:, 0], epochs=30)
    last = frozen.trained(x, cell, setting).held_out[-1][..., 0]
    assert np.corrcoef(last[0], cell.rows.scores[:TRAIN])[0, 1] > 0.9
    assert np.abs(last.mean() - cell.rows.scores[:TRAIN].mean()) < 5


def test_a_learning_rate_that_is_too_high_is_named():
    x, cell, setting = made(lr=[1e20])
    with toy.refused("--lr"):
        frozen.trained(x, cell, setting)


@pytest.mark.parametrize(("columns", "width"), [(1, 3), (2, 12)])
def test_features_are_scaled_and_empty_texts_are_zeros(columns, width):
    texts = [["one", "two", ""], ["two", "", "one"]][:columns]
    rows = Rows(tuple("ab"[:columns]), texts, np.zeros(3, int), ["a"], np.zeros(3, int), ["train"], list("123"))
    vectors = {"one": np.array([1, 2, 3], np.float32), "two": np.array([0, 2, -3], np.float32)}
    found = frozen.features(rows, vectors, 3).numpy()
    assert found.shape == (3, width)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found[:, 0], (np.array([1, 0, 0]) - 1 / 3) / np.std([1, 0, 0]), atol=1e-4)
