"""Pinned lexical bias of a classifier with known logits."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import toy

from plugins.glue import lexical_bias, predict

LOGITS = {"bad": [0.0, np.log(9)], "nice": [0.0, -np.log(4)], "tree": [0.0, 0.0], "house": [0.0, np.log(3)]}


@pytest.fixture
def model(monkeypatch):
    """A model of two labels that reads the last word of a text."""

    def logits(_, texts):
        return np.array([LOGITS[text.split()[-1]] for text in texts])

    monkeypatch.setattr(predict, "logits_of_texts", logits)
    spec = SimpleNamespace(name="mood", id2label=["kind", "rude"])
    return SimpleNamespace(task=SimpleNamespace(spec=spec))


MATCHED = lexical_bias.pinned.Matched(
    ["bad", "nice"], np.array([3, 3]), [], ["house", "tree"], np.array([[0, 1], [1, 0], [1, 1]])
)


def test_probabilities_and_bias_of_each_label_and_template(model):
    found = lexical_bias.measure(model, MATCHED, ["{}", "so {}"])
    assert found.labels == ["kind", "rude"] and found.listed.shape == (2, 2, 2)
    np.testing.assert_allclose(found.listed[:, 0], [[0.1, 0.9], [0.8, 0.2]])
    assert list(found.comparisons) == [("kind", "{}"), ("kind", "so {}"), ("rude", "{}"), ("rude", "so {}")]
    rude = found.comparisons["rude", "so {}"]
    assert (rude.bias, rude.random) == pytest.approx((0.2, (0.125 + 0.125 + 0) / 3))
    assert rude.p_value == 1 / 4


def test_one_label(model):
    found = lexical_bias.measure(model, MATCHED, ["{}"], "rude")
    assert list(found.comparisons) == [("rude", "{}")] and found.random.shape == (2, 1, 1)


def test_an_unknown_label_is_refused(model):
    with toy.refused("--label angry", "rude"):
        lexical_bias.measure(model, MATCHED, ["{}"], "angry")


def test_files_have_each_word_and_each_comparison(model, tmp_path):
    lexical_bias.write(tmp_path / "out", MATCHED, lexical_bias.measure(model, MATCHED, ["{}"], "rude"))
    rows = {name: list(csv.DictReader((tmp_path / "out" / f"{name}.csv").open())) for name in ("bias", "words")}
    assert [(row["word"], row["kind"], row["probability"]) for row in rows["words"]] == [
        ("bad", "listed", "0.9"), ("nice", "listed", "0.2"), ("house", "random", "0.75"), ("tree", "random", "0.5"),
    ]  # fmt: skip
    assert [(row["label"], row["template"], row["bias"]) for row in rows["bias"]] == [("rude", "{}", "0.2")]


def test_a_model_without_a_head_is_refused():
    with toy.refused("--task glue"):
        lexical_bias.training_texts(SimpleNamespace(task=object()), "folder")
