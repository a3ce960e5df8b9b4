"""Means and their standard errors."""

import math

import numpy as np
import pytest

from plugins.analysis.metrics.means import mean_and_error, standard_error


def test_the_standard_error_divides_the_sample_deviation_by_the_root_of_n():
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(0.57735, abs=1e-5)  # 1 / sqrt(3)
    assert standard_error(np.array([[1.0, 0.0], [3.0, 0.0]])).tolist() == [1.0, 0.0]


def test_one_value_has_no_standard_error():
    assert math.isnan(standard_error([2.0]))
    assert np.isnan(standard_error(np.ones((1, 2)))).all()


def test_nan_is_left_out_of_a_mean():
    assert mean_and_error([1, 3, math.nan]) == {"mean": 2.0, "standard_error": 1.0, "n": 2}
    assert mean_and_error([])["n"] == 0 and math.isnan(mean_and_error([])["mean"])
