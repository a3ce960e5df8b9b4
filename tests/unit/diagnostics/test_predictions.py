"""Checks of predictions and labels, and values picked by label."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import predictions


@pytest.mark.parametrize("labels", [[0, 2, 1], np.array([0.0, 2.0, 1.0]), np.array([0, 2, 1], np.uint8)])
def test_whole_numbers_are_labels(labels):
    found = predictions.checked_labels(labels, 3, 3)
    assert found.tolist() == [0, 2, 1] and found.dtype == np.int64
    assert predictions.checked_labels(np.array([True, False]), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "named"),
    [([[0, 1]], "(1, 2)"), ([], "(0,)"), ([0, 1], "2 rows"), ([0, 0.5, 1], "whole"), (["a", "b", "c"], "whole"),
     ([0, np.nan, 1], "whole"), ([0, 3, 1], "[1] is [3]"), ([0, 1, -1], "[2] is [-1]")],
)  # fmt: skip
def test_other_labels_are_refused(labels, named):
    with toy.refused("labels", named):
        predictions.checked_labels(np.array(labels), 3, 3)


@pytest.mark.parametrize(
    ("logits", "named"),
    [(np.zeros(3), "(3,)"), (np.zeros((3, 1)), "(3, 1)"), (np.zeros((0, 2)), "(0, 2)"),
     ([[0, 1], [np.nan, 1]], "row 1"), ([[[0, 1], [1, 2]], [[0, 1], [-np.inf, 2]]], "row 1"), ([[1e39, 0]], "row 0")],
)  # fmt: skip
def test_logits_that_cannot_be_used_are_refused(logits, named):
    with toy.refused("logits", named):
        predictions.checked_logits(np.array(logits))


def test_the_largest_and_smallest_logits_of_float32_are_logits():
    limits = np.array([[np.finfo(np.float32).max, np.finfo(np.float32).min]])
    assert predictions.checked_logits(limits).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "named"),
    [([0.5, 0.5], "(2,)"), ([[1.0]], "(1, 1)"), (np.zeros((0, 2)), "(0, 2)"), ([[0.5, 0.5], [1.2, -0.2]], "row 1"),
     ([[1, 0], [np.nan, 1]], "row 1"), ([[1, 0], [0.5, 0.498]], "row 1"), ([[0.5, 0.502]], "row 0")],
)  # fmt: skip
def test_probabilities_that_cannot_be_used_are_refused(values, named):
    with toy.refused("probabilities", named):
        predictions.checked_probabilities(np.array(values))


def test_rounded_probabilities_are_accepted():
    found = predictions.checked_probabilities(np.array([[0.4995, 0.5], [1, 0], [0.5004, 0.5]], np.float32))
    assert found.dtype == np.float64 and found.shape == (3, 2)


def test_logarithms_to_base_two_stay_finite():
    found = predictions.log2_softmax(np.array([[0.0, 0.0], [0.0, np.log(3)], [1000.0, -1000.0]]))
    np.testing.assert_allclose(found, [[-1, -1], [-2, np.log2(0.75)], [0, -2000 / np.log(2)]], atol=1e-12)


def test_values_of_the_label_and_of_the_best_other_class():
    values, labels = np.array([[[1, 5, 3], [9, 2, 2]], [[7, 8, 9], [0, 4, 6]]]), np.array([1, 0])
    assert predictions.of_label(values, labels).tolist() == [[5, 9], [8, 0]]
    best, where = predictions.best_other(values, labels)
    assert best.tolist() == [[3, 2], [9, 6]] and where.tolist() == [[2, 1], [2, 2]]
    assert values[0, 0, 1] == 5  # the argument is unchanged
