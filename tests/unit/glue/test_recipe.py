"""Recipes: what wins, and the command line they make."""

import pytest

from plugins.data import glue_specs
from plugins.errors import UserError
from plugins.glue import recipe


def test_defaults_are_the_published_configs():
    runs = recipe.plan(["RTE", "QQP", "CoLA"], [1], {}, {})
    assert [(r.task, r.lr, r.batch_size) for r in runs] == [("RTE", 2e-5, 16), ("QQP", 1e-5, 32), ("CoLA", 1e-5, 16)]


def test_the_command_line_wins_over_the_yaml_and_that_over_the_recipe():
    content = {"epochs": 3, "dropout": 0.2, "tasks": {"RTE": {"epochs": 5}}}
    rte, cola = recipe.plan(["RTE", "CoLA"], [1], {"dropout": 0.0, "lr": None}, content)
    assert (rte.recipe["epochs"], cola.recipe["epochs"]) == (5, 3)
    assert (rte.recipe["dropout"], rte.recipe["weight_decay"]) == (0.0, 0.1)


def test_a_grid_has_every_cell_and_seed():
    runs = recipe.plan(["RTE"], [1, 2], {"lr": [1e-5, 2e-5], "batch_size": [16, 32]}, {})
    assert len({run.name for run in runs}) == 8
    assert len({run.cell for run in runs}) == 4


def test_an_intermediate_task_serves_the_small_ones():
    runs = recipe.plan(["MNLI", "RTE", "CoLA"], [1], {}, {}, "MNLI")
    assert {run.task: run.intermediate for run in runs} == {"MNLI": None, "RTE": "MNLI", "CoLA": None}


def test_learning_rates_that_yaml_takes_for_text(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("lr: [1e-5, 3e-5]\n")
    assert [run.lr for run in recipe.plan(["RTE"], [1], {}, recipe.read_yaml(path))] == [1e-5, 3e-5]


BAD = [("lrr: 1", "unknown key 'lrr'"), ("[1]", "a mapping"), ("a: [", "not YAML")]


@pytest.mark.parametrize("text, complaint", BAD)
def test_a_bad_yaml_is_an_error_that_names_the_file(tmp_path, text, complaint):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=f"r.yaml: {complaint}"):
        recipe.read_yaml(path)


@pytest.mark.parametrize("path", sorted((recipe.Path(__file__).parents[3] / "examples/glue/recipes").glob("*.yaml")),
                         ids=lambda path: path.stem)  # fmt: skip
def test_example_recipes_are_read(path):
    content = recipe.read_yaml(path)
    assert len(recipe.plan(["RTE"], content["seeds"], {}, content)) == 6


def test_updates_and_warm_up_follow_from_the_rows():
    """RTE: 2,490 rows in batches of 16 are 156 updates an epoch; 6 % of ten epochs are 94."""
    (run,) = recipe.plan(["RTE"], [1], {}, {})
    spec = glue_specs.SPECS["RTE"]
    words = recipe.command(run, "G", "C", "O", 2490, {"spec": spec, "flags": ["--glue-task", "RTE"]}, cpu=True)
    assert recipe.updates(2490, run) == 1560
    for flag, value in (("--total-num-update", "1560"), ("--warmup-updates", "94"), ("--lr", "2e-05")):
        assert words[words.index(flag) + 1] == value
    assert words[-1] == "--cpu"
