"""Scores of texts by a preference model, and decisions by its threshold."""

from types import SimpleNamespace

import numpy as np
import pytest
import toy

from plugins.hub import scorer


@pytest.fixture
def stored(monkeypatch):
    """A function that loads a checkpoint with a given task state; the model has at most 40 positions."""

    def load(task_state):
        model = SimpleNamespace(score_head="head", max_positions=lambda: 40)
        monkeypatch.setattr(scorer.checkpoints, "find_checkpoint", lambda path: f"{path}/checkpoint_best.pt")
        monkeypatch.setattr(scorer.checkpoints, "read_state", lambda path: {"task_state": task_state, "model": {}})
        monkeypatch.setattr(scorer.checkpoints, "load", lambda path, base: SimpleNamespace(model=model, base=base))
        monkeypatch.setattr(scorer, "encoder_of", lambda lm: "encoder")
        monkeypatch.setattr(scorer.Scorer, "__init__", lambda self, *given: vars(self).update(given=given))
        return scorer.Scorer.from_pretrained("run", "base.pt")

    return load


@pytest.mark.parametrize(("longest", "expected"), [(16, 16), (None, 40), (99, 40)])
def test_inputs_are_as_long_as_in_training_at_most_as_the_positions(stored, longest, expected):
    found = stored({"preference": {"longest": longest, "pooling": "bos"}, "threshold": {"threshold": 0.25}})
    model, encoder, head, length = found.given
    assert (encoder, head, length) == ("encoder", "head", expected) and found.lm.model is model
    assert found.threshold == {"threshold": 0.25} and found.lm.base == "base.pt"
    assert stored({"preference": {"pooling": "bos"}}).threshold is None


@pytest.mark.parametrize("state", [{}, None, {"preference": {}}])
def test_other_checkpoints_are_refused(stored, state):
    with toy.refused("checkpoint_best.pt", "--task preference"):
        stored(state)


class Lengths(scorer.Scorer):
    """Scores texts by their lengths."""

    def __init__(self, threshold=None):
        self.threshold, self.asked = threshold, []

    def encode(self, texts, batch_size, normalize, progress):
        self.asked.append((batch_size, normalize, progress))
        return np.array([[len(text)] for text in texts], np.float32)


def test_a_string_has_a_number_and_texts_have_an_array():
    model = Lengths()
    assert model.score("abc") == 3.0 and isinstance(model.score("abc"), float)
    assert model.score(["a", "bcd"], 7).tolist() == [1, 3]
    assert model.asked == [(64, False, False), (64, False, False), (7, False, True)]


def test_texts_above_the_threshold_are_accepted():
    assert Lengths({"threshold": 2.0}).decide(["a", "ab", "abc"]).tolist() == [False, False, True]
    with toy.refused("threshold"):
        Lengths().decide(["a"])
