"""Drawings of runs: how high their scale goes."""

import numpy as np

from plugins.analysis.runs import plots as run_plots


def curve(updates, values):
    return np.array(updates), np.array(values, dtype=float), np.zeros(len(updates))


def test_the_fall_of_the_first_twentieth_is_off_the_scale():
    top = run_plots.top_of({"training": {"a": curve([1, 500, 1000], [50, 4, 3])}})
    assert 4 < top < 5


def test_a_run_much_shorter_than_another_is_on_the_scale():
    long, short = curve([50, 500, 1000], [5, 4, 3]), curve([10, 20], [9, 8])
    top = run_plots.top_of({"training": {"long": long, "short": short}})
    assert top is None or top > 9
