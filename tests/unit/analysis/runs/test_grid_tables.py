"""Results of a grid: numbers of a run, means over seeds, tables, heat maps."""

import math

import numpy as np
import pytest

from plugins.analysis.runs import curves as runs
from plugins.analysis.runs import grid_tables, grids
from plugins.files import without_nan


def record(updates, loss, **more):
    return runs.LoggedRecord("valid", {"loss": loss, "num_updates": float(updates), **more})


def test_losses_are_in_nats_and_bits_best_and_last():
    got = grid_tables.numbers([record(1, 4.0), record(2, 2.0), record(3, 3.0)], 10)
    assert (got["bits"], got["last_bits"]) == pytest.approx((2, 3))
    assert (got["nats"], got["last_nats"]) == pytest.approx((1.386294, 2.079442), abs=1e-6)
    assert (got["parameters"], got["updates"]) == (10, 3)


def test_nats_that_a_criterion_logs_are_taken_as_they_are():
    assert grid_tables.numbers([record(1, 2.0, nats=1.38629)], 1)["nats"] == 1.38629


def test_an_empty_log_gives_no_numbers():
    got = grid_tables.numbers([], None)
    assert all(math.isnan(got[name]) for name in ("nats", "last_bits", "perplexity", "parameters", "seconds"))


@pytest.fixture
def results(read):
    values = {"decoder-layers=5 head=a": 1.0, "decoder-layers=10 head=b": 3.0}
    numbers = dict.fromkeys(grids.COLUMNS, 0.0)
    return [(run, numbers | {"nats": values.get(run.title, 2.0) + run.seed}) for run in read(data="d").runs]


def test_mean_and_standard_error_are_over_seeds(results):
    first = grid_tables.aggregate(results)[0]
    assert (first["cell"], first["seeds"]) == ({"decoder-layers": "5", "head": "a"}, [1, 2])
    # of 2 and 3: standard deviation sqrt(1/2), standard error 1/2
    assert first["nats"]["values"] == [2.0, 3.0] and first["nats"]["mean"] == 2.5
    assert first["nats"]["standard_error"] == pytest.approx(0.5)
    assert first["nats"]["standard_deviation"] == pytest.approx(0.70710678)


def test_one_seed_has_no_spread():
    assert math.isnan(grid_tables.over_seeds([1.0])["standard_error"])
    assert without_nan([{"a": math.nan}, 1.0, -math.inf]) == [{"a": None}, 1.0, None]


def test_the_table_leaves_absent_axes_empty(results):
    table = grid_tables.markdown(grid_tables.aggregate(results), ("decoder-layers", "head", "row"), ["nats", "updates"])
    lines = table.splitlines()
    assert lines[0] == "| decoder-layers | head | row | best loss (nats) | updates |"
    assert lines[2] == "| 5 | a |  | 2.5000 ± 0.5000 | 0 |"
    assert lines[6] == "|  |  | no residual | 3.5000 ± 0.5000 | 0 |"


def test_a_number_that_a_log_lacks_is_a_dash_in_the_table(read):
    (run, *_) = read(data="d").runs
    table = grid_tables.markdown(grid_tables.aggregate([(run, grid_tables.numbers([], 100))]), [])
    assert "nan" not in table and table.splitlines()[-1].split(" | ")[-1] == "– |"


def test_csv_has_a_line_a_run(results):
    lines = grid_tables.csv(results, ("decoder-layers", "head", "row")).splitlines()
    assert len(lines) == 11 and lines[1].startswith("5,a,,1,2.0,0.0")


def test_heat_maps_are_of_two_axes_of_numbers(read):
    grid = read("base: x\naxes: {--layers: [10, 5], --heads: [1, 2], text: {en: '', he: ''}}\nrows: {other: y}")
    entries = grid_tables.aggregate([(run, dict.fromkeys(grids.COLUMNS, float(i))) for i, run in enumerate(grid.runs)])
    maps, names = grid_tables.matrices(entries, grid.axes)
    assert names == ("layers", "heads") and list(maps) == ["text=en", "text=he"]
    values, rows, columns = maps["text=en"]
    assert (rows, columns) == (["5", "10"], ["1", "2"])
    np.testing.assert_array_equal(values, [[4, 6], [0, 2]])


def test_one_axis_of_numbers_makes_no_map(read):
    entries = grid_tables.aggregate([(run, dict.fromkeys(grids.COLUMNS, 1.0)) for run in read(data="d").runs])
    assert grid_tables.matrices(entries, ("decoder-layers", "head", "row")) == ({}, ())


def test_each_column_has_its_heading_and_decimals(results):
    names = list(grids.COLUMNS)
    numbers = dict.fromkeys(names, 1234.56789)
    lines = grid_tables.markdown(grid_tables.aggregate([(results[0][0], numbers)]), ("head",), names).splitlines()
    assert lines[0] == (
        "| head | best loss (nats) | best loss (bits) | last loss (nats) | last loss (bits) | best perplexity | "
        "last perplexity | parameters | trained parameters | updates | seconds | tokens/s | ROUGE-1 | ROUGE-2 | "
        "ROUGE-L | ROUGE-Lsum |"
    )
    loss, whole, rouge = "1,234.5679", "1,235", "1,234.5679"
    assert lines[2] == "| a | " + " | ".join([loss] * 4 + ["1,234.6"] * 2 + [whole] * 5 + [rouge] * 4) + " |"


def test_trained_parameters_are_reported_next_to_all():
    got = grid_tables.numbers([record(1, 2.0)], 100, 7)
    assert (got["parameters"], got["trained"]) == (100, 7)
    assert math.isnan(grid_tables.numbers([record(1, 2.0)], 100)["trained"])


def test_summaries_are_scored_at_the_lowest_loss():
    records = [record(1, 4.0, rouge1=0.1), record(2, 2.0, rouge1=0.3), record(3, 3.0, rouge1=0.2)]
    got = grid_tables.numbers(records, 10)
    assert got["rouge1"] == 0.3 and math.isnan(got["rouge2"])
    assert math.isnan(grid_tables.numbers([record(1, 4.0), record(2, 3.0, rouge1=0.5)], 1)["rouge1"]), (
        "not at each loss"
    )


def test_the_best_and_the_last_perplexity():
    got = grid_tables.numbers([record(1, 3.0, ppl=8.0), record(2, 2.0, ppl=4.0), record(3, 2.5, ppl=5.0)], 1)
    assert (got["perplexity"], got["last_perplexity"]) == (4, 5)


def test_a_map_may_have_empty_cells(read):
    grid = read("base: x\naxes: {--layers: [1, 2], --heads: [1, 2]}")
    entries = grid_tables.aggregate([(run, dict.fromkeys(grids.COLUMNS, 1.0)) for run in grid.runs[:3]])
    ((values, _, _),) = grid_tables.matrices(entries, grid.axes)[0].values()
    assert np.isnan(values[1, 1]) and np.nansum(values) == 3


def test_equal_whole_numbers_have_no_error_and_equal_losses_do(results):
    run = results[0][0]
    two = [(run, dict.fromkeys(grids.COLUMNS, 2.0)), (run, dict.fromkeys(grids.COLUMNS, 2.0))]
    line = grid_tables.markdown(grid_tables.aggregate(two), (), ["nats", "updates"]).splitlines()[2]
    assert line == "| 2.0000 ± 0.0000 | 2 |"
