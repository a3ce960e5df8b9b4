"""Grouping runs into configurations: names and mean curves."""

from pathlib import Path

import pytest

from plugins.analysis.runs import groups
from plugins.analysis.runs.logs import INNER, TRAIN, VALID, LoggedRecord, LoggedRun


def run(path="runs/base_seed1", values=(3.0, 2.0), seed=1, stage=VALID, updates=(10, 20), **options):
    records = [
        LoggedRecord(stage, {"num_updates": float(at), "loss": value})
        for at, value in zip(updates, values, strict=True)
    ]
    cfg = {"common": {"seed": seed, "log_format": f"of {path}"}, "checkpoint": {"save_dir": path},
           "optimization": {"lr": [0.1]} | options}  # fmt: skip
    return LoggedRun(Path(path), records, cfg if seed is not None else None, "log")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/base", "base"),
        ("runs/base_seed=3", "base"),
        ("runs/base-s12", "base"),
        ("runs/base/seed1", "base"),
        ("runs/base_seed1/train.log", "base"),
        ("runs/base_seed1/log", "base"),
        ("runs/base_seed1/checkpoint_best.pt", "base"),
        ("logs/wide.seed2.log", "wide"),
        ("runs/layers12", "layers12"),
        ("runs/lr_0.1", "lr_0.1"),
        ("outputs/2026-01-31/12-00-00", "2026-01-31/12-00-00"),
        ("outputs/2026-01-31/12-00-00/hydra_train.log", "2026-01-31/12-00-00"),
    ],
)
def test_a_run_is_called_as_its_folder_without_the_seed(path, name):
    assert groups.name_of(path) == name


def test_runs_that_differ_by_seed_and_by_where_they_are_kept_are_one_configuration():
    found = groups.group([run("a_seed1", seed=1), run("other", seed=1, lr=[0.2]), run("a_seed2", seed=2)])
    assert [(c.name, [groups.seed_of(r) for r in c.runs]) for c in found] == [("a", [1, 2]), ("other", [1])]


def test_runs_without_options_are_grouped_by_name():
    found = groups.group([run("x/a_seed1", seed=None), run("x/a_seed2", seed=None), run("x/b", seed=None)])
    assert [(c.name, len(c.runs)) for c in found] == [("a", 2), ("b", 1)]


def test_configurations_of_the_same_name_are_distinguished_by_their_options():
    found = groups.group([run("x/a_seed1"), run("y/a_seed1", lr=[0.2])])
    assert [c.name for c in found] == ["a (lr=[0.1])", "a (lr=[0.2])"]


def test_parts_of_an_interrupted_run_are_joined_and_the_later_one_wins():
    first, second = run("one/part.log", (4.0, 3.0)), run("two/part.log", (2.5, 2.0), updates=(20, 30))
    second.options["checkpoint"]["save_dir"] = first.options["checkpoint"]["save_dir"]
    (found,) = groups.group([first, second])
    (joined,) = found.runs
    assert [(r.updates, r.values["loss"]) for r in joined.records] == [(10, 4.0), (20, 2.5), (30, 2.0)]


def test_curves_are_means_with_standard_errors_over_the_seeds():
    (found,) = groups.group([run("a_seed1", (3, 2), 1), run("a_seed2", (5, 2), 2), run("a_seed3", (4, 2), 3)])
    curves = found.curves("loss")
    assert list(curves) == [VALID]
    updates, means, errors = curves[VALID]
    assert (updates.tolist(), means.tolist()) == ([10, 20], [4, 2])
    assert errors == pytest.approx([0.5773503, 0])  # 1 / sqrt(3)


def test_runs_without_a_common_update_have_no_mean():
    (found,) = groups.group([run("a_seed1", seed=1), run("a_seed2", seed=2, updates=(15, 25))])
    assert found.curves("loss") == {}


def test_training_is_that_between_two_lines_or_else_that_of_epochs():
    epochs = run(stage=TRAIN, values=(3, 2), updates=(100, 200))
    assert groups.curve_of(epochs, "loss", TRAIN)[0].tolist() == [100, 200]
    both = LoggedRun(epochs.path, epochs.records + run(stage=INNER).records, epochs.options, "log")
    assert groups.curve_of(both, "loss", TRAIN)[0].tolist() == [10, 20]


def test_validation_is_the_first_split_whatever_it_is_called():
    records = run(stage="valid1").records + run(stage=INNER).records
    assert groups.curve_of(LoggedRun(Path("x"), records, None, "log"), "loss", VALID)[0].tolist() == [10, 20]
    more = records + run(stage=VALID, updates=(5, 6)).records
    assert groups.curve_of(LoggedRun(Path("x"), more, None, "log"), "loss", VALID)[0].tolist() == [5, 6]


def test_a_name_is_made_distinct_by_at_most_three_options_or_a_number():
    options = ({"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 2, "b": 2, "c": 2, "d": 2})
    found = groups.group([run("x/a_seed1", **options[0]), run("y/a_seed1", **options[1])])
    assert [c.name for c in found] == ["a (a=1, b=1, c=1)", "a (a=2, b=2, c=2)"]
    one, two = run("x/a_seed1"), run("y/a_seed1")
    two.options["extra"] = {"new": 1}
    assert [c.name for c in groups.group([one, two])] == ["a (1)", "a (new=1)"]


def test_options_of_hydra_and_of_no_consequence_do_not_count():
    found = groups.flat({"common": {"seed": 1, "fp16": True}, "hydra": {"x": 1}, "_name": None, "task": {"data": "d"}})
    assert found == {"common.fp16": "True", "_name": "None", "task.data": "d"} and groups.flat(None) == {}


def test_runs_of_several_names_are_called_by_all_of_them():
    (found,) = groups.group([run("x/a_seed1", seed=1), run("x/b_seed2", seed=2)])
    assert found.name == "a, b" and [r.path for r in found.runs] == [Path("x/a_seed1"), Path("x/b_seed2")]


def test_runs_without_a_folder_are_not_joined():
    one, two = run("one/part.log"), run("two/part.log")
    for each in (one, two):
        each.options["checkpoint"] = None
    (found,) = groups.group([one, two])
    assert len(found.runs) == 2 and groups.seed_of(LoggedRun(Path("x"), [], None, "log")) is None


@pytest.mark.parametrize(("path", "name"), [("runs/seed1", "runs"), ("runs/big_seed1/seed1", "big"), ("a/x.txt", "x")])
def test_a_folder_of_a_seed_alone_is_called_as_the_one_above(path, name):
    assert groups.name_of(path) == name
