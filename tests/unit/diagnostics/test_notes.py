"""Warnings of a diagnosis."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import notes


def answering(classes, counts):
    """Logits (1, n, K) of a model that gives each class that many times."""
    return np.eye(classes)[np.repeat(np.arange(classes), counts)][None]


def test_a_run_collapses_from_99_percent_of_twenty_answers_on():
    folds, labels, names = np.zeros(100, int), np.arange(100) % 2, ["no", "yes"]
    [note] = notes.on_runs(answering(2, [1, 99]), labels, names, folds)
    toy.names(note, "seed number 1", "fold 1", "99.0 %", "'yes'")
    assert notes.on_runs(answering(2, [2, 98]), labels, names, folds) == []
    [note] = notes.on_runs(answering(2, [20, 20])[[0, 0]], labels[:40], names, np.repeat([1, 1, 0, 2], 10))[:1]
    toy.names(note, "seed number 1", "fold 2", "100.0 %", "'no'")
    assert notes.on_runs(answering(2, [19, 19]), labels[:38], names, np.repeat([0, 1], 19)) == []
    assert notes.on_runs(answering(2, [0, 100]), (np.arange(100) > 0).astype(int), names, np.zeros(100, int))[1:] == []


def test_bits_that_are_constant_too_confident_or_useless_are_warned_of():
    constant, confident, useless, good = [0.1, 0.1], [-1, 0.5], [-1, 0.9], [0.5, 0.6]
    found = notes.on_bits(
        np.array([constant, confident, useless, good]),
        np.array([constant, [0.1, 0.2], [-0.006, -0.006], [-0.005, -0.005]]),
    )
    assert len(found) == 3
    for note, parts in zip(found, (["1", "same"], ["2", "0.150"], ["3", "better"]), strict=True):
        toy.names(note, "seed number", *parts)


@pytest.mark.parametrize(("bits", "warned"), [(-0.001, False), (0.0, True), (0.04, True), (0.06, False)])
def test_models_that_learned_little_are_warned_of(bits, warned):
    found = notes.on_share(np.full((2, 3), bits), np.ones(3))
    assert len(found) == warned and all("label information" in line for line in found)
