"""Nested subsets and the fitted power law of a learning curve; see also test_diagnosis.py."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import curves

SIZES = np.array([100.0, 400, 1600, 6400])


def test_groups_are_kept_whole_and_the_seed_decides():
    labels, groups = np.arange(400) % 2, np.arange(400) // 4
    found = curves.nested(labels, 0.25, groups)
    assert found.reshape(100, 4).all(1).sum() == 25 == found.reshape(100, 4).any(1).sum()
    one, two, other = (curves.nested(labels, 0.25, seed=seed) for seed in (0, 0, 1))
    assert (one == two).all() and (one != other).any()


def test_no_rows_are_an_error():
    with toy.refused("--sizes 0.5", "no rows"):
        curves.nested(np.zeros(0, int), 0.5)


def test_few_groups_are_the_steps_of_the_share():
    found = curves.nested(np.zeros(12, int), 0.5, np.repeat([0, 1, 2, 3], 3))
    assert found.sum() == 6 and sorted(found.reshape(4, 3).sum(1)) == [0, 0, 3, 3]


def test_the_seed_decides_between_few_groups():
    groups = np.repeat(np.arange(20), 2)
    kept = {tuple(np.flatnonzero(curves.nested(groups % 2, 0.2, groups, seed))) for seed in range(10)}
    assert len(kept) > 5 and {len(rows) for rows in kept} == {8}


def test_subsets_of_many_rows_stay_those_of_earlier_versions():
    assert np.flatnonzero(curves.nested(np.arange(120) % 3, 0.05, seed=7)).tolist() == [
        8,
        10,
        36,
        81,
        82,
        110,
        114,
        116,
    ]


def test_every_parameter_of_a_power_law_is_recovered():
    found = curves.fit(SIZES, 0.8 - 3 * SIZES**-0.7)
    assert found["b"] == pytest.approx(-3, rel=1e-2) and found["c"] == pytest.approx(0.7, rel=1e-2)
    assert found["rmse"] == pytest.approx(0, abs=1e-5)


def test_the_error_is_that_of_the_best_curve():
    """Deviations of 0.01 in turn, which no power law follows: their fit leaves about that much."""
    bits = 0.8 - 3 * SIZES**-0.7 + [0.01, -0.01, 0.01, -0.01]
    found = curves.fit(SIZES, bits)
    fitted = found["limit"] + found["b"] * SIZES ** -found["c"]
    assert (
        found["rmse"] == pytest.approx(np.sqrt(np.mean((fitted - bits) ** 2)), rel=1e-6)
        and 0.001 < found["rmse"] < 0.01
    )


def test_curves_that_fall_or_end_below_zero_have_no_size_for_a_limit():
    for bits in (0.5 + 3 * SIZES**-0.7, -0.2 - 3 * SIZES**-0.7):
        found = curves.fit(SIZES, bits)
        assert found["rows_for_95"] is None and found["limit"] == pytest.approx(bits[-1], abs=0.02)


def test_a_size_within_a_hundred_times_the_largest_is_in_reach():
    """95 % of the limit a are reached at (b / 0.05 a) ^ (1 / c)."""
    for factor, reached in ((99.5, True), (100.5, False)):
        b = 0.05 * 1.0 * (factor * 6400) ** 0.5
        found = curves.fit(SIZES, 1.0 - b * SIZES**-0.5)
        assert (found["rows_for_95"] is not None) == reached
        if reached:
            assert found["rows_for_95"] == pytest.approx(99.5 * 6400, rel=1e-3)


def test_equal_values_are_a_limit():
    assert curves.fit(SIZES, np.full(4, 0.3))["limit"] == pytest.approx(0.3, abs=0.02)


def test_a_share_of_one_hundredth_needs_as_many_rows():
    assert curves.nested(np.arange(200) % 2, 0.01).sum() == 2
    with toy.refused("--sizes 0.004"):
        curves.nested(np.arange(200) % 2, 0.004)
