"""Logs of fairseq-train, as it writes them."""

import numpy as np
import pytest

from plugins.analysis import runs

PREFIX = "2026-01-31 12:00:00 | INFO | "


def inner(updates, wps="100", wall="1"):
    return PREFIX + f'train_inner | {{"epoch": 1, "wps": "{wps}", "num_updates": "{updates}", "wall": "{wall}"}}\n'


def valid(updates, ppl):
    return PREFIX + f'valid | {{"epoch": 1, "valid_ppl": "{ppl}", "valid_num_updates": "{updates}"}}\n'


def test_values_are_numbers_without_the_prefix_of_their_stage():
    record = runs.parse_line(valid(80, "300.125"))
    assert record == runs.Record("valid", {"epoch": 1.0, "ppl": 300.125, "num_updates": 80.0})
    assert record.updates == 80


def test_a_value_that_is_no_number_is_left_out():
    line = PREFIX + 'train | {"epoch": 2, "train_loss": "None", "train_ppl": "inf", "train_num_updates": "5"}'
    assert runs.parse_line(line).values == {"epoch": 2.0, "ppl": float("inf"), "num_updates": 5.0}


@pytest.mark.parametrize(
    "line",
    [
        "",
        PREFIX + "fairseq_cli.train | training on 1 devices",
        PREFIX + 'fairseq_cli.train | {"common": {"seed": 1}}',
        PREFIX + 'valid | {"epoch": 1, "valid_ppl": "30',
        'train_inner: {"loss": "1"}',
    ],
)
def test_other_lines_hold_no_record(line):
    assert runs.parse_line(line) is None


def test_a_curve_is_two_arrays():
    updates, values = runs.curve(runs.read_log([inner(5), valid(10, "9.5"), valid(20, "7.25")]), "ppl")
    assert (updates.tolist(), values.tolist()) == ([10, 20], [9.5, 7.25])


def test_a_curve_of_nothing_is_empty():
    updates, values = runs.curve([], "ppl")
    assert (updates.shape, values.shape) == ((0,), (0,))


def test_a_resumed_run_takes_the_place_of_what_it_repeats():
    first = [inner(5, "10"), valid(8, "400"), inner(10, "20"), inner(15, "30")]  # stopped after the checkpoint at 8
    again = [inner(10, "21"), inner(15, "31"), valid(16, "300")]
    records = runs.read_log(first + again)
    assert runs.curve(records, "wps", runs.INNER)[1].tolist() == [10, 21, 31]
    assert runs.curve(records, "ppl")[0].tolist() == [8, 16]


def test_summary():
    lines = [inner(1, "0", "2"), inner(2, "100", "3"), inner(3, "20", "9"), inner(4, "110", "10")]
    summary = runs.summarize(runs.read_log([*lines, valid(2, "50"), valid(4, "60")]))
    assert summary == runs.Summary(updates=4, perplexity=50.0, tokens_per_second=100.0, seconds=10.0)


def test_summary_of_an_empty_log_is_unknown():
    summary = runs.summarize([])
    assert summary.updates == 0
    assert np.isnan([summary.perplexity, summary.tokens_per_second, summary.seconds]).all()


def test_unigram_perplexity():
    # Frequencies 3/4 and 1/4 after one is added to each; the text holds each word once: 1 / sqrt(3/16).
    assert runs.unigram_perplexity(np.array([2, 0]), np.array([1, 1])) == pytest.approx(2.3094011)
    assert runs.unigram_perplexity(np.full(7, 3), np.array([5, 0, 0, 0, 0, 0, 0])) == pytest.approx(7.0)


def test_parameters_are_counted_as_the_log_says():
    line = PREFIX + "fairseq_cli.train | num. shared model params: 1,234,567 (num. trained: 1,000)"
    assert runs.count_parameters(["", line]) == 1_234_567
    assert runs.count_parameters([""]) is None


def test_curves_of_several_runs_are_averaged_where_all_have_a_value():
    a = np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0])
    b = np.array([2, 3, 4]), np.array([4.0, 3.0, 9.0])
    updates, means, errors = runs.average([a, b])
    assert updates.tolist() == [2, 3] and means.tolist() == [3.0, 3.0]
    assert errors.tolist() == pytest.approx([1.0, 0.0])


def test_the_band_of_one_run_has_no_width():
    assert runs.average([(np.array([1]), np.array([2.0]))])[2].tolist() == [0.0]
