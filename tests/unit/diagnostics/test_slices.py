"""Slices by length, by ranges of numbers and by values; see also test_diagnosis.py."""

import numpy as np

from plugins.diagnostics import slices


def shown(found):
    return {name: np.flatnonzero(rows).tolist() for name, rows in found.items()}


def test_lengths_are_the_words_of_all_columns():
    found = slices.by_length([["a", "a b", "a b c", "a b c d"], ["x", "x", "x", "x y"]], 2)
    assert shown(found) == {"2 to 3": [0, 1], "4 to 6": [2, 3]}


def test_words_are_separated_by_any_white_space():
    found = slices.by_length([["", "a\nb", "a  b\r\nc", "a\tb\u3000c d"]], 4)
    assert shown(found) == {"0 to 0": [0], "2 to 2": [1], "3 to 3": [2], "4 to 4": [3]}


def test_equal_numbers_share_a_slice_and_an_edge_belongs_to_the_lower_one():
    assert shown(slices.by_number(np.array([1, 2, 3, 4, 5]), 2)) == {"1 to 3": [0, 1, 2], "4 to 5": [3, 4]}
    assert shown(slices.by_number(np.array([7.5, 7.5, 7.5]))) == {"7.5 to 7.5": [0, 1, 2]}
    assert shown(slices.by_number(np.array([0, 0, 0, 1]))) == {"0 to 0": [0, 1, 2], "1 to 1": [3]}
    assert shown(slices.by_number(np.array([0, 1]), 1)) == {"0 to 1": [0, 1]}
    assert len(slices.by_number(np.arange(80))) == 4


def test_thirty_values_are_slices_and_more_numbers_are_ranges():
    assert len(slices.by_value([str(i) for i in range(30)], "x")) == 30
    assert list(slices.by_value([str(i) for i in range(31)], "x")) == ["0 to 7", "8 to 15", "16 to 22", "23 to 30"]


def test_values_are_sorted_and_the_empty_one_has_a_name():
    assert shown(slices.by_value(["b", "", "a", "b"], "x")) == {"(empty)": [1], "a": [2], "b": [0, 3]}
