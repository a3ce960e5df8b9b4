"""Data maps, against values of numpy."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import dynamics

# (3, 2, 3): epochs, rows, classes
LOGITS = np.array([[[2, 0, -1], [0, 1, 0]], [[3, 0, -1], [1, 0.5, 0]], [[4, -1, -1], [0.2, 0.1, 0]]], float)
EXPECTED = {
    "confidence": [0.92224586, 0.36186245],
    "variability": [0.05917534, 0.12030343],
    "correctness": [3, 2],
    "forgetfulness": [0, 0],
    "aum": [3.33333333, -0.13333333],
    "threshold_closeness": [0.07170843, 0.23091802],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_map_of_two_rows(name):
    np.testing.assert_allclose(dynamics.data_map(LOGITS, [0, 0])[name], EXPECTED[name], atol=1e-8)


def test_every_column_is_there():
    assert tuple(dynamics.data_map(LOGITS, [0, 0])) == dynamics.COLUMNS


def test_el2n_at_the_first_epoch():
    np.testing.assert_allclose(dynamics.el2n(LOGITS[0], [0, 0]), [0.19800372, 0.99893243], atol=1e-8)


def test_forgetting_counts_from_right_to_wrong():
    answers = np.array([1, 0, 1, 0, 0])  # right, wrong, right, wrong, wrong
    logits = np.stack([1 - answers, answers], 1)[:, None, :]  # (5, 1, 2)
    assert dynamics.data_map(logits, [1])["forgetfulness"].tolist() == [2]


def test_a_row_that_is_always_misclassified():
    found = dynamics.data_map(LOGITS, [2, 2])
    assert found["forgetfulness"].tolist() == [1000, 1000] and found["never_learned"].all()


def test_only_the_first_epochs():
    assert dynamics.data_map(LOGITS, [0, 0], epochs=1)["correctness"].tolist() == [1, 0]


def test_average_of_maps_that_cover_different_rows():
    first = {"confidence": np.array([0.2, np.nan, np.nan])}
    second = {"confidence": np.array([0.4, 0.6, np.nan])}
    found = dynamics.averaged([first, second])
    np.testing.assert_allclose(found["confidence"], [0.3, 0.6, np.nan])
    np.testing.assert_allclose(found["confidence_spread"][:2], [0.1, 0])


def test_nan_is_refused_with_its_row():
    logits = LOGITS.copy()
    logits[1, 1, 0] = np.nan
    with toy.refused("logits", "row 1"):
        dynamics.data_map(logits, [0, 0])


def test_the_extra_class_is_as_large_as_the_others_on_average():
    rows = dynamics.threshold_rows(103, 4, seed=2)
    assert len(rows) == 20 and (np.diff(rows) > 0).all() and 0 <= rows[0] and rows[-1] < 103
    assert rows.tolist() == dynamics.threshold_rows(103, 4, seed=2).tolist()
    assert rows.tolist() != dynamics.threshold_rows(103, 4, seed=3).tolist()


def test_rows_below_a_percentile_of_the_threshold_rows_are_flagged():
    """The 99th percentile of 1, 2 and 3 is 2.98."""
    found = dynamics.below_threshold([1, 2.97, 2.99, 3, -5, 2], np.array([0, 3, 5]))
    assert found.tolist() == [False, True, False, False, True, False]
    assert not dynamics.below_threshold([1, 2.97, 2.99, 3], np.array([0, 3]), percentile=0).any()


def test_wrong_threshold_rows_are_refused():
    with toy.refused("3 rows"):
        dynamics.threshold_rows(3, 3)
    for rows in ([], [2], [-1], [0.5], np.zeros(0, int), [[0]]):
        with toy.refused("threshold"):
            dynamics.below_threshold([0, 1], np.array(rows))
    with toy.refused("aum"):
        dynamics.below_threshold([0, np.nan], np.array([0]))
    with toy.refused("percentile 101"):
        dynamics.below_threshold([0, 1], np.array([0]), 101)


def test_the_distance_is_averaged_over_epochs():
    found = dynamics.data_map(LOGITS, [0, 0])["el2n"]
    np.testing.assert_allclose(found, dynamics.el2n(LOGITS, [0, 0]).mean(0))
    assert found[0] < 0.2 < found[1]


def test_averages_count_the_maps_that_cover_a_row():
    maps = [{"confidence": np.array([0.1, np.nan]), "aum": np.array([1.0, np.nan])},
            {"confidence": np.array([0.2, 0.5]), "aum": np.array([2.0, -1.0])},
            {"confidence": np.array([0.6, 0.7]), "aum": np.array([6.0, np.nan])}]  # fmt: skip
    found = dynamics.averaged(maps)
    np.testing.assert_allclose(found["confidence"], [0.3, 0.6])
    np.testing.assert_allclose(found["aum"], [3, -1])
    np.testing.assert_allclose(found["confidence_spread"], [np.sqrt(0.14 / 3), 0.1])


def test_the_least_rows_and_the_ends_of_the_percentiles_are_accepted():
    assert len(dynamics.threshold_rows(4, 3)) == 1
    found = dynamics.below_threshold([1, 2, 3, 4], np.array([0, 2]), 100)
    assert found.tolist() == [False, True, False, False]
    with toy.refused("percentile -1"):
        dynamics.below_threshold([1, 2], np.array([0]), -1)
    with toy.refused("aum"):
        dynamics.below_threshold([[1, 2]], np.array([0]))
