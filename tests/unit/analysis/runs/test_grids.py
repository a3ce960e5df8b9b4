"""Grids of runs: commands from a YAML file."""

import pytest
import toy

from plugins.analysis.runs import grids


def test_the_product_of_the_axes_and_the_rows_for_every_seed(read):
    grid = read(data="d")
    assert [(run.title, run.seed) for run in grid.runs[:5]] == [
        ("decoder-layers=5 head=a", 1), ("decoder-layers=5 head=b", 1), ("decoder-layers=10 head=a", 1),
        ("decoder-layers=10 head=b", 1), ("no residual", 1),
    ]  # fmt: skip
    assert len(grid.runs) == 10 and grid.runs[5].seed == 2
    assert grid.axes == ("decoder-layers", "head", "row")


def test_arguments_are_those_of_base_cell_and_command_line_in_this_order(read):
    grid = read(None, "my data", ["--cpu"])
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
    assert {run.seed for run in read(None, "d", seeds=[7]).runs} == {7}


@pytest.mark.parametrize(("text", "named"), [
    ("a: 1\nb: ]", ["g.yaml:2"]),
    ("just text", ["base"]),
    ("axes: {}", ["base"]),
    ("base: x\nbases: y", ["bases"]),
    ("base: 'x {data}'", ["--data"]),
    ("base: x --seed 1", ["--seed"]),
    ("base: x --save-dir=y", ["--save-dir=y"]),
    ("base: x 'y", ["base"]),
    ("base: x\naxes: {layers: [1, 2]}", ["layers"]),
    ("base: x\nseeds: 3", ["seeds"]),
    ("base: x\ncolumns: [loss]", ["columns", "'loss'", "nats, bits"]),
    ("base: x\naxes: [1]", ["axes"]),
    ("base: x\naxes: 3", ["axes"]),
    ("base: x\naxes: {--layers: }", ["--layers"]),
    ("base: x\naxes: {--layers: []}", ["--layers"]),
    ("base: x\nrows: [1]", ["rows"]),
    ("base: x\ncolumns: 3", ["columns", "nats, bits"]),
    ("base: x\ncolumns: [[nats]]", ["columns", "['nats']", "nats, bits"]),
    ("base: {a: b}", ["base"]),
    ("base: a --max-update x", ["base", "--max-update x"]),
    ("base: a\naxes: {--max-update: [1.5]}", ["max-update=1.5", "--max-update 1.5"]),
    ("base: x\naxes:\n" + "".join(f"  --a{i}: [1, 2, 3]\n" for i in range(40)), ["10,000"]),
    ("base: x\nrows: {a b: y, 'a?b': z}", ["a_b_seed=1"]),
])  # fmt: skip
def test_a_mistake_is_named(read, text, named):
    with toy.refused("g.yaml", *named):
        read(text)


def test_a_missing_file_is_named(tmp_path):
    with toy.refused("none.yaml"):
        grids.read_grid(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(toy.ROOT.glob("examples/*/grids/*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_grid(path):
    grid = grids.read_grid(path, data="data")
    assert grid.runs and all(run.updates > 0 for run in grid.runs)


def test_columns_are_the_files_or_the_usual_ones(read):
    assert read("base: x").columns == ("nats", "bits", "last_nats", "parameters", "seconds", "tokens_per_second")
    assert read("base: x\ncolumns: [bits]").columns == ("bits",) and read("base: x").title == "g"
    assert read("base: x").axes == () and read("base: x\nrows: {a: y}").axes == ("row",)


def test_arguments_may_be_lists_and_a_row_may_add_none(read):
    grid = read("base: [x, 'a b', 3]\nrows: {plain: , more: [--y, 1]}")
    assert [run.arguments for run in grid.runs] == [("x", "a b", "3"), ("x", "a b", "3", "--y", "1")]
    assert [run.updates for run in grid.runs] == [0, 0] and grid.runs[0].max_update == "0"


def test_data_without_a_place_is_not_needed(read):
    assert read("base: x").runs[0].arguments == ("x",)
    with toy.refused("seeds"):
        read("base: x\nseeds: []")
    with toy.refused("seeds"):
        read("base: x\nseeds: [1.5]")
