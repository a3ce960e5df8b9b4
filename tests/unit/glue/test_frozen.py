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


# One head at a time


def heads(count=1, epochs=1, **given):
    """Heads on eight rows of three features."""
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32))
    options = {"epochs": epochs, "lr": [0.1], "batch_size": [3]} | given
    setting = Setting(Path("."), Path("."), list(range(1, count + 1)), options, {}, True, None)
    return frozen.Heads(x, (torch.arange(8) % 2, torch.empty(count, 0)), 2, setting, 1)


def without_dropout(made):
    forward = made.forward
    made.forward = lambda inputs, drop: forward(inputs, False)
    made.total = 10
    return made


def test_settings_that_are_not_given_are_the_heads_own():
    made = heads(epochs=None, lr=None, batch_size=None)
    assert (made.epochs, made.batch, made.rate) == (3, 64, 1e-3)
    made = heads(epochs=2, lr=[0.5, 0.25], batch_size=7)
    assert (made.epochs, made.batch, made.rate) == (2, 7, 0.5)
    assert [group["weight_decay"] for group in made.optimizer.param_groups] == [0.01, 0.0]
    assert [tuple(w.shape) for w in made.weights] == [(1, 3, 256), (1, 256, 2)]
    for weight, width in zip(made.weights, (3, 256), strict=True):
        assert 0.9 / width**0.5 < weight.abs().max().item() <= 1 / width**0.5
        assert weight.min() < 0 < weight.max()
    assert all((bias == 0).all() for bias in made.biases)


def test_the_rate_falls_linearly_over_all_updates():
    made, rates = heads(epochs=2), []
    step = made.optimizer.step
    made.optimizer.step = lambda: rates.append(made.optimizer.param_groups[0]["lr"]) or step()
    for _ in range(2):
        made.epoch([np.arange(8)], 8)
    assert rates == pytest.approx([0.1 * (1 - i / 6) for i in range(6)])


def test_a_head_does_not_depend_on_one_with_more_rows():
    """Rows that are repeated to fill the batches of the longest do not count."""
    alone, beside = without_dropout(heads(batch_size=8)), without_dropout(heads(2, batch_size=8))
    first, second = alone.epoch([np.arange(3)], 8)[0], beside.epoch([np.arange(3), np.arange(8)], 8)
    np.testing.assert_allclose(first, second[0], atol=1e-5)
    assert np.isfinite(first[:3]).all() and np.isnan(first[3:]).all() and np.isfinite(second[1]).all()
    for one, two in zip(alone.weights, beside.weights, strict=True):
        torch.testing.assert_close(one[0], two[0], atol=1e-4, rtol=1e-3)


def test_logits_are_without_dropout_and_block_by_block_the_same():
    made = heads(2)
    whole = made.logits(made.x)
    assert whole.shape == (2, 8, 2)
    np.testing.assert_allclose(made.logits(made.x, block=3), whole, atol=1e-6)
    inputs = made.x.expand(2, -1, -1)
    with torch.no_grad():
        dropped = torch.stack([made.forward(inputs, True) for _ in range(400)])
    assert dropped.std(0).min() > 0
    np.testing.assert_allclose(dropped.mean(0).numpy(), whole, atol=0.1)


def test_a_tenth_of_the_hidden_units_is_dropped():
    made = heads()
    with torch.no_grad():
        made.weights[0].fill_(0)
        made.biases[0].fill_(10.0)  # every hidden unit is 1
        made.weights[1].fill_(1 / 256)
        found = torch.cat([made.forward(made.x[None], True)[0, :, 0] for _ in range(20)])
    assert found.mean().item() == pytest.approx(1, abs=0.01)
    assert found.std().item() == pytest.approx((0.1 / 0.9 / 256) ** 0.5, rel=0.2)


def test_a_head_is_a_perceptron_with_one_hidden_layer():
    made = heads()
    (one, two), (b1, b2) = made.weights, made.biases
    with torch.no_grad():
        b1 += 0.5
        b2 += torch.tensor([1.0, -1])
        expected = torch.tanh(made.x @ one[0] + 0.5) @ two[0] + torch.tensor([1.0, -1])
    np.testing.assert_allclose(made.logits(made.x)[0], expected.numpy(), atol=1e-5)


def test_scores_are_standardized_by_each_heads_training_rows():
    rows = Rows(("t",), [list("abcd")], np.zeros(4, int), ["a"], np.zeros(4, int), ["train"], list("abcd"),
                np.array([1.0, 5, 5, 5]))  # fmt: skip
    scores, scale = frozen.targets_of(rows, [np.array([0, 1]), np.array([2, 3])], torch.device("cpu"))
    assert scores.tolist() == [1, 5, 5, 5] and scale.tolist() == [[3, 2], [5, 1]]
    setting = Setting(Path("."), Path("."), [1], {}, {}, True, None)
    made = frozen.Heads(torch.zeros(4, 2), (scores, scale), 1, setting, 2)
    assert made.logits(made.x)[:, 0, 0].tolist() == [3, 5], "a head that learned nothing answers the mean"
    logits = torch.tensor([[[4.0], [2.0]], [[5.0], [3.0]]])
    assert made.losses(logits, torch.tensor([[2.0, 2], [5, 5]])).tolist() == [[1, 0], [0, 4]]


def test_texts_are_encoded_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "BLOCK", 2)
    (tmp_path / "c.pt").write_bytes(b"x")
    calls = []

    class Embedder:
        def encode(self, texts, progress):
            calls.append((list(texts), progress))
            return np.array([[len(text)] for text in texts], np.float32)

    texts = [["a", "bb", "a", " "], ["", "ccc", "bb", "a"]]
    rows = Rows(("x", "y"), texts, np.zeros(4, int), ["a"], np.zeros(4, int), ["train"], list("0123"))
    setting = Setting(tmp_path, tmp_path / "c.pt", [1], {}, {}, True, None)
    for _ in range(2):
        found = frozen.encoded(Embedder(), [rows, rows], setting)
        assert {text: vector.tolist() for text, vector in found.items()} == {"a": [1], "bb": [2], "ccc": [3]}
    assert calls == [(["a", "bb"], False), (["ccc"], False)] and len(list((tmp_path / "features").iterdir())) == 2
    (tmp_path / "dict.txt").write_text("a 1\n")
    frozen.encoded(Embedder(), [rows, rows], setting)
    assert len(calls) == 4, "another tokenizer"


def test_features_of_pairs_are_both_their_distance_and_their_product():
    rows = Rows(("a", "b"), [["u", "v"], ["v", "u"]], np.zeros(2, int), ["a"], np.zeros(2, int), ["train"], list("01"))
    vectors = {"u": np.array([3.0], np.float32), "v": np.array([-1.0], np.float32)}
    found = frozen.features(rows, vectors, 1).numpy()
    np.testing.assert_allclose(found, [[1, -1, 0, 0], [-1, 1, 0, 0]], atol=1e-5)
