"""Curves, summaries and means of runs."""

import numpy as np
import pytest
from toy import inner_line as inner
from toy import valid_line as valid

from plugins.analysis.runs import curves as runs
from plugins.analysis.runs.logs import read_log


def test_a_curve_is_two_arrays():
    updates, values = runs.curve(read_log([inner(5), valid(10, "9.5"), valid(20, "7.25")]), "ppl")
    assert (updates.tolist(), values.tolist()) == ([10, 20], [9.5, 7.25])


def test_a_curve_without_points_is_empty():
    updates, values = runs.curve([], "ppl")
    assert (updates.shape, values.shape) == ((0,), (0,))


def test_summary():
    lines = [inner(1, "0", "2"), inner(2, "100", "3"), inner(3, "20", "9"), inner(4, "110", "10")]
    summary = runs.summarize(read_log([*lines, valid(2, "50"), valid(4, "60")]))
    assert summary == runs.Summary(updates=4, perplexity=50.0, tokens_per_second=100.0, seconds=10.0)


def test_summary_of_an_empty_log_is_unknown():
    summary = runs.summarize([])
    assert summary.updates == 0
    assert np.isnan([summary.perplexity, summary.tokens_per_second, summary.seconds]).all()


def test_unigram_perplexity():
    # Frequencies 3/4 and 1/4 after one is added to each; the text contains each word once: 1 / sqrt(3/16).
    assert runs.unigram_perplexity(np.array([2, 0]), np.array([1, 1])) == pytest.approx(2.3094011)
    assert runs.unigram_perplexity(np.full(7, 3), np.array([5, 0, 0, 0, 0, 0, 0])) == pytest.approx(7.0)


def test_curves_of_several_runs_are_averaged_where_all_have_a_value():
    a = np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0])
    b = np.array([2, 3, 4]), np.array([4.0, 3.0, 9.0])
    updates, means, errors = runs.average([a, b])
    assert updates.tolist() == [2, 3] and means.tolist() == [3.0, 3.0]
    assert errors.tolist() == pytest.approx([1.0, 0.0])


def test_the_band_of_one_run_has_no_width():
    assert runs.average([(np.array([1]), np.array([2.0]))])[2].tolist() == [0.0]


def test_intervals_without_speed_do_not_count():
    lines = [inner(1, "0", "2"), inner(2, "0", "3"), inner(3, "0", "4"), inner(4, "1", "10")]
    assert runs.summarize(read_log(lines)).tokens_per_second == 1.0


def test_a_curve_is_of_its_stage_alone():
    records = read_log([inner(5, "10"), valid(5, "9.5")])
    assert runs.curve(records, "ppl")[1].tolist() == [9.5] and runs.curve(records, "wps")[1].tolist() == []
    assert runs.curve(records, "wps", "train_inner")[1].tolist() == [10]
