"""Recipes: precedence of options, and the resulting command line."""

from dataclasses import replace

import numpy as np
import pytest
import toy

from plugins.data.glue import dataset, specs
from plugins.glue import hyperparameters, plan


def test_defaults_are_the_published_configs():
    runs = plan.plan(["RTE", "QQP", "CoLA"], [1], {}, {})
    assert [(r.task, r.lr, r.batch_size) for r in runs] == [("RTE", 2e-5, 16), ("QQP", 1e-5, 32), ("CoLA", 1e-5, 16)]


def test_the_command_line_wins_over_the_yaml_and_that_over_the_defaults():
    content = {"epochs": 3, "dropout": 0.2, "tasks": {"RTE": {"epochs": 5}}}
    rte, cola = plan.plan(["RTE", "CoLA"], [1], {"dropout": 0.0, "lr": None}, content)
    assert (rte.hyperparameters["epochs"], cola.hyperparameters["epochs"]) == (5, 3)
    assert (rte.hyperparameters["dropout"], rte.hyperparameters["weight_decay"]) == (0.0, 0.1)


def test_a_grid_has_every_cell_and_seed():
    runs = plan.plan(["RTE"], [1, 2], {"lr": [1e-5, 2e-5], "batch_size": [16, 32]}, {})
    assert len({run.name for run in runs}) == 8
    assert len({run.cell for run in runs}) == 4


def test_duplicates_are_run_once():
    given = {"lr": [1e-4, 0.0001], "batch_size": [16, 16]}
    assert [run.name for run in plan.plan(["RTE"], [1, 1], given, {})] == ["RTE/lr0.0001_b16_s1"]


def test_slightly_different_learning_rates_have_separate_folders():
    runs = plan.plan(["RTE"], [1], {"lr": [1e-5, 1.0000001e-5]}, {})
    assert len({run.name for run in runs}) == 2


def test_the_small_tasks_start_from_the_intermediate_task():
    runs = plan.plan(["MNLI", "RTE", "CoLA"], [1], {}, {}, "MNLI")
    assert {run.task: run.intermediate for run in runs} == {"MNLI": None, "RTE": "MNLI", "CoLA": None}


def test_learning_rates_that_yaml_reads_as_text(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("lr: [1e-5, 3e-5]\n")
    assert [run.lr for run in plan.plan(["RTE"], [1], {}, hyperparameters.read_yaml(path))] == [1e-5, 3e-5]


def read(tmp_path, text, own=()):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return hyperparameters.read_yaml(path, own)


BAD = [
    ("lrr: 1", "'lrr'"),
    ("[1]", "r.yaml"),
    ("0", "r.yaml"),
    ("a: [", "r.yaml:1"),
    ("tasks: [RTE]", "tasks"),
    ("tasks: {RTE: 3}", "tasks: RTE"),
    ("tasks: {RTE: {seeds: 1}}", "tasks: RTE"),
    ("tasks: {RTEE: {lr: 1e-5}}", "tasks: RTEE"),
    ("tasks: {5: {lr: 1e-5}}", "tasks: 5"),
    ("tasks: {RTE: {lr: fast}}", "tasks: RTE: lr: 'fast'"),
    ("epochs: ten", "epochs: 'ten'"),
    ("epochs: 0", "epochs: 0"),
    ("epochs: 2.5", "epochs: 2.5"),
    ("epochs: .inf", "epochs: inf"),
    ("epochs: true", "epochs: True"),
    ("lr: null", "lr: None"),
    ("lr: []", "lr"),
    ("lr: -1", "lr: -1"),
    ("lr: .nan", "lr: nan"),
    ("lr: [1e-5, [1]]", "lr: [1]"),
    ("seeds: [a]", "seeds: 'a'"),
    ("batch_size: 0", "batch_size: 0"),
    ("intermediate: 5", "intermediate: 5"),
    ("warmup: 2", "warmup: 2"),
    ("pooler_type: men", "pooler_type: 'men'"),
    ("dropout: x", "dropout: 'x'"),
    ("clip_norm: null", "clip_norm: None"),
    ("reinit_layers: -1", "reinit_layers: -1"),
    ('options: "--user \'a"', "options"),
]


@pytest.mark.parametrize("text, named", BAD)
def test_a_bad_yaml_is_an_error_that_names_the_file(tmp_path, text, named):
    with toy.refused("r.yaml", named):
        read(tmp_path, text)


def test_one_value_is_accepted_as_a_list_of_one(tmp_path):
    content = read(tmp_path, "{seeds: 1, lr: 1e-4, batch_size: 8, max_tokens: null}")
    (run,) = plan.plan(["RTE"], content["seeds"], {}, content)
    assert (run.lr, run.batch_size, run.seed, run.hyperparameters["max_tokens"]) == (1e-4, 8, 1, None)


def test_names_of_tasks_ignore_case_and_punctuation(tmp_path):
    own = replace(specs.SPECS["RTE"], name="mood")
    content = read(tmp_path, "tasks: {sst2: {epochs: 3}, Mood: {epochs: 4}}", [own])
    runs = plan.plan(["SST-2", "mood"], [1], {}, content)
    assert [run.hyperparameters["epochs"] for run in runs] == [3, 4]


@pytest.mark.parametrize(
    "given, named",
    [
        ({"lr": [0.0]}, "--lr: 0.0"),
        ({"epochs": 0}, "--epochs: 0"),
        ({"batch_size": [0]}, "--batch-size: 0"),
    ],
)
def test_command_line_values_are_checked_too(given, named):
    with toy.refused(named):
        plan.plan(["RTE"], [1], given, {})


@pytest.mark.parametrize("path", sorted((plan.Path(__file__).parents[3] / "examples/glue/recipes").glob("*.yaml")),
                         ids=lambda path: path.stem)  # fmt: skip
def test_example_recipes_are_read(path):
    content = hyperparameters.read_yaml(path)
    assert len(plan.plan(["RTE"], content["seeds"], {}, content)) == 6


def command(data, **given):
    (run,) = plan.plan(["RTE"], [1], given, {})
    task = {"spec": specs.SPECS["RTE"], "flags": ["--glue-task", "RTE"]}
    return plan.command(run, "G", "C", "O", data, 64, task, cpu=True)


def rows(*sizes):
    """A training split of pairs: so many tokens in the first text of each, none in the second."""
    offsets = np.cumsum([0, *(size for first in sizes for size in (first, 0))])
    return dataset.Tokenized(np.zeros(offsets[-1], np.int32), offsets, None, np.array(["0"] * len(sizes)), 0)


def test_updates_and_warm_up_follow_from_the_rows():
    """RTE: 2,490 rows in batches of 16 are 156 updates per epoch; 6 % of ten epochs are 94."""
    words, total = command(rows(*[4] * 2490))
    assert total == 1560
    for flag, value in (("--total-num-update", "1560"), ("--warmup-updates", "94"), ("--lr", "2e-05")):
        assert words[words.index(flag) + 1] == value
    assert words[-1] == "--cpu"


@pytest.mark.parametrize(
    "given, total",
    [
        ({"batch_size": [1000]}, 2),  # by_length.LARGEST_BATCH
        ({"batch_size": [8], "max_tokens": 128}, 125 + 250),  # rows of 16 tokens, and of 32
        ({"batch_size": [8], "max_tokens": 128, "max_positions": 16}, 125),
        ({"options": "--update-freq 2"}, 32),  # 63 batches of 16
        ({"options": "--max-sentences 50"}, 20),
        ({"options": "--update-freq 2,1", "epochs": 3}, 32 + 2 * 63),
        ({"options": "--update-freq 2,1,3", "epochs": 2}, 32 + 63),
        ({"epochs": 10**12}, 63 * 10**12),
        ({"options": "--max-update 7"}, 7),
    ],
)
def test_options_of_batches_determine_the_number_of_updates(given, total):
    data = rows(*[12] * 1000) if "max_positions" in given or "max_tokens" not in given else rows(*[12, 28] * 1000)
    assert command(data, **{"epochs": 1, **given})[1] == total


def test_options_are_split_as_a_shell_does():
    assert command(rows(4), options="--log-file 'my log'")[0][-2:] == ["--log-file", "my log"]


def test_an_option_that_is_not_a_number_is_named():
    with toy.refused("--options", "--update-freq", "'two'"):
        command(rows(4), options="--update-freq two")


def test_an_abbreviated_option_is_not_counted():
    assert command(rows(*[12] * 1000), epochs=1, options="--batch 50")[1] == 63


def test_optional_limits_are_passed_on_only_where_they_are_set():
    words = command(rows(4))[0]
    assert "--max-positions" not in words and "--max-tokens" not in words
    words = command(rows(4), max_positions=32, max_tokens=64)[0]
    assert words[words.index("--max-positions") + 1] == "32" and words[words.index("--max-tokens") + 1] == "64"


def test_a_run_is_stored_and_read_back():
    (run,) = plan.plan(["RTE"], [3], {}, {}, "MNLI")
    row = run.as_row() | {"score": 0.5}
    assert list(row) == ["task", "lr", "batch_size", "seed", "intermediate", "recipe", "score"]
    assert plan.FineTuning.from_row(row) == run and row == {"score": 0.5}


def test_a_frequency_of_zero_is_one_update_for_each_batch():
    assert plan.frequencies("[4, 0,2]") == [4, 1, 2]
