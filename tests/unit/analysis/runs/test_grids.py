"""Grids of runs: commands from a YAML file, and tables of results."""

import math

import numpy as np
import pytest
import toy

from plugins.analysis.runs import curves as runs
from plugins.analysis.runs import grids
from plugins.errors import UserError

YAML = """
title: Two axes
base: "{data} --task t"
seeds: [1, 2]
axes:
  --decoder-layers: [5, 10]
  head: {a: --head clap, b: [--name, two words]}
rows:
  no residual: --no-residual
"""


@pytest.fixture
def read(tmp_path):
    def read(text=YAML, *arguments, **options):
        (tmp_path / "g.yaml").write_text(text)
        return grids.read_grid(tmp_path / "g.yaml", *arguments, **options)

    return read


def test_the_product_of_the_axes_and_the_rows_for_every_seed(read):
    grid = read(data="d")
    assert [(run.title, run.seed) for run in grid.runs[:5]] == [
        ("decoder-layers=5 head=a", 1), ("decoder-layers=5 head=b", 1), ("decoder-layers=10 head=a", 1),
        ("decoder-layers=10 head=b", 1), ("no residual", 1),
    ]  # fmt: skip
    assert len(grid.runs) == 10 and grid.runs[5].seed == 2
    assert grid.axes == ("decoder-layers", "head", "row")


def test_arguments_are_those_of_base_cell_and_command_line_in_this_order(read):
    grid = read(YAML, "my data", ["--cpu"])
    first, second = grid.runs[0].arguments, grid.runs[1].arguments
    assert first == ("my data", "--task", "t", "--decoder-layers", "5", "--head", "clap", "--cpu")
    assert second[5:7] == ("--name", "two words")
    assert grid.runs[4].arguments == ("my data", "--task", "t", "--no-residual", "--cpu")


def test_folder_names_are_plain(read):
    assert read(data="d").runs[4].name == "no_residual_seed=1"


def test_a_grid_may_be_one_command(read):
    [run] = read("base: x --max-update 7 --max-update 9").runs
    assert (run.title, run.seed, run.updates) == ("base", 1, 9)


def test_other_seeds_replace_those_of_the_file(read):
    assert {run.seed for run in read(YAML, "d", seeds=[7]).runs} == {7}


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\nb: ]", "g.yaml:2: not YAML"),
    ("just text", "a mapping with `base`"),
    ("axes: {}", "no `base`"),
    ("base: x\nbases: y", "unknown key bases"),
    ("base: 'x {data}'", "give --data PATH"),
    ("base: x --seed 1", "--seed is set for every run"),
    ("base: x --save-dir=y", "--save-dir=y is set for every run"),
    ("base: x 'y", "base: No closing quotation"),
    ("base: x\naxes: {layers: [1, 2]}", "layers: a list of values needs a flag"),
    ("base: x\nseeds: 3", "`seeds` is a list of whole numbers"),
    ("base: x\ncolumns: [loss]", "no column 'loss': there are nats"),
    ("base: x\naxes: [1]", "`axes` maps flags or names to their levels"),
    ("base: x\naxes: 3", "`axes` maps flags or names to their levels"),
    ("base: x\naxes: {--layers: }", "--layers: no levels"),
    ("base: x\naxes: {--layers: []}", "--layers: no levels"),
    ("base: x\nrows: [1]", "rows: a list of values needs a flag"),
    ("base: x\ncolumns: 3", "`columns` is a list of nats"),
    ("base: x\ncolumns: [[nats]]", "no column ['nats']: there are nats"),
    ("base: {a: b}", "base: a mapping, but a string or a list of arguments is needed"),
    ("base: a --max-update x", "base: --max-update x: a whole number is needed"),
    ("base: a\naxes: {--max-update: [1.5]}", "max-update=1.5: --max-update 1.5: a whole number is needed"),
    ("base: x\nrows: {a b: y, 'a?b': z}", "a_b_seed=1"),
])  # fmt: skip
def test_mistakes_are_one_line_errors(read, text, message):
    with pytest.raises(UserError) as caught:
        read(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with toy.refused("none.yaml"):
        grids.read_grid(tmp_path / "none.yaml")


def record(updates, loss, **more):
    return runs.Record("valid", {"loss": loss, "num_updates": float(updates), **more})


def test_losses_are_in_nats_and_bits_best_and_last():
    got = grids.numbers([record(1, 4.0), record(2, 2.0), record(3, 3.0)], 10)
    assert (got["bits"], got["last_bits"]) == pytest.approx((2, 3))
    assert (got["nats"], got["last_nats"]) == pytest.approx((1.386294, 2.079442), abs=1e-6)
    assert (got["parameters"], got["updates"]) == (10, 3)


def test_nats_that_a_criterion_logs_are_taken_as_they_are():
    assert grids.numbers([record(1, 2.0, nats=1.38629)], 1)["nats"] == 1.38629


def test_an_empty_log_gives_no_numbers():
    got = grids.numbers([], None)
    assert all(math.isnan(got[name]) for name in ("nats", "last_bits", "perplexity", "parameters", "seconds"))


@pytest.fixture
def results(read):
    values = {"decoder-layers=5 head=a": 1.0, "decoder-layers=10 head=b": 3.0}
    numbers = dict.fromkeys(grids.COLUMNS, 0.0)
    return [(run, numbers | {"nats": values.get(run.title, 2.0) + run.seed}) for run in read(data="d").runs]


def test_mean_and_standard_error_are_over_seeds(results):
    first = grids.aggregate(results)[0]
    assert (first["cell"], first["seeds"]) == ({"decoder-layers": "5", "head": "a"}, [1, 2])
    # of 2 and 3: standard deviation sqrt(1/2), standard error 1/2
    assert first["nats"]["values"] == [2.0, 3.0] and first["nats"]["mean"] == 2.5
    assert first["nats"]["standard_error"] == pytest.approx(0.5)
    assert first["nats"]["standard_deviation"] == pytest.approx(0.70710678)


def test_one_seed_has_no_spread():
    assert math.isnan(grids.over_seeds([1.0])["standard_error"])
    assert grids.without_nan([{"a": math.nan}, 1.0, -math.inf]) == [{"a": None}, 1.0, None]


def test_the_table_leaves_absent_axes_empty(results):
    table = grids.markdown(grids.aggregate(results), ("decoder-layers", "head", "row"), ["nats", "updates"])
    lines = table.splitlines()
    assert lines[0] == "| decoder-layers | head | row | best loss (nats) | updates |"
    assert lines[2] == "| 5 | a |  | 2.5000 ± 0.5000 | 0 |"
    assert lines[6] == "|  |  | no residual | 3.5000 ± 0.5000 | 0 |"


def test_csv_has_a_line_a_run(results):
    lines = grids.csv(results, ("decoder-layers", "head", "row")).splitlines()
    assert len(lines) == 11 and lines[1].startswith("5,a,,1,2.0,0.0")


def test_heat_maps_are_of_two_axes_of_numbers(read):
    grid = read("base: x\naxes: {--layers: [10, 5], --heads: [1, 2], text: {en: '', he: ''}}\nrows: {other: y}")
    entries = grids.aggregate([(run, dict.fromkeys(grids.COLUMNS, float(i))) for i, run in enumerate(grid.runs)])
    maps, names = grids.matrices(entries, grid.axes)
    assert names == ("layers", "heads") and list(maps) == ["text=en", "text=he"]
    values, rows, columns = maps["text=en"]
    assert (rows, columns) == (["5", "10"], ["1", "2"])
    np.testing.assert_array_equal(values, [[4, 6], [0, 2]])


def test_one_axis_of_numbers_makes_no_map(read):
    entries = grids.aggregate([(run, dict.fromkeys(grids.COLUMNS, 1.0)) for run in read(data="d").runs])
    assert grids.matrices(entries, ("decoder-layers", "head", "row")) == ({}, ())


@pytest.mark.parametrize("path", sorted(toy.ROOT.glob("examples/*/grids/*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_grid(path):
    grid = grids.read_grid(path, data="data")
    assert grid.runs and all(run.updates > 0 for run in grid.runs)


def test_each_column_has_its_heading_and_decimals(results):
    names = list(grids.COLUMNS)
    numbers = dict.fromkeys(names, 1234.56789)
    lines = grids.markdown(grids.aggregate([(results[0][0], numbers)]), ("head",), names).splitlines()
    assert lines[0] == (
        "| head | best loss (nats) | best loss (bits) | last loss (nats) | last loss (bits) | best perplexity | "
        "last perplexity | parameters | trained parameters | updates | seconds | tokens/s | ROUGE-1 | ROUGE-2 | "
        "ROUGE-L | ROUGE-Lsum |"
    )
    loss, whole, rouge = "1,234.5679", "1,235", "1,234.5679"
    assert lines[2] == "| a | " + " | ".join([loss] * 4 + ["1,234.6"] * 2 + [whole] * 5 + [rouge] * 4) + " |"


def test_trained_parameters_are_reported_next_to_all():
    got = grids.numbers([record(1, 2.0)], 100, 7)
    assert (got["parameters"], got["trained"]) == (100, 7)
    assert math.isnan(grids.numbers([record(1, 2.0)], 100)["trained"])
