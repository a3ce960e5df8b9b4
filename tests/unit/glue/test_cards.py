"""Model cards with the fields that Hugging Face users expect."""

import pytest

from plugins.data.glue import specs
from plugins.glue import cards


def test_speeds_under_hugging_faces_names():
    split = {"accuracy": 0.5, "loss": 0.7, "samples": 130, "runtime": 2.0}  # three batches of at most 64
    result = {"epochs": 2, "train_loss": 0.6, "train_seconds": 5.0, "train_samples": 100, "updates": 14,
              "valid": {"valid": split, "valid_mismatched": split | {"runtime": 1.0}}}  # fmt: skip
    found = cards.hugging_face_results(result)
    assert found["train"]["train_samples_per_second"] == 40
    assert found["eval"]["eval_samples_per_second"] == 65
    assert (found["eval"]["eval_steps_per_second"], found["all"]["eval_steps_per_second_mm"]) == (1.5, 3)


NAMES = [("SST-2", "valid", "sst2"), ("MNLI", "test_mismatched", "mnli-mm"), ("CoLA", "test", "cola")]


@pytest.mark.parametrize(("task", "split", "name"), NAMES)
def test_tasks_have_hugging_faces_names(task, split, name):
    assert cards.hugging_face_name(specs.SPECS[task], split) == name
    assert cards.hugging_face_name(specs.SPECS["RTE"]) == "rte"


def test_all_results_are_those_of_training_and_evaluation():
    split = {"accuracy": 0.5, "samples": 64, "runtime": 0.0}
    result = {"epochs": 3, "train_loss": 0.6, "train_seconds": 4.0, "train_samples": 10, "updates": 6}
    found = cards.hugging_face_results(result | {"valid": {"valid": split}})
    assert found["train"] == {
        "epoch": 3.0, "train_loss": 0.6, "train_runtime": 4.0, "train_samples": 10, "train_samples_per_second": 7.5,
        "train_steps_per_second": 1.5,
    }  # fmt: skip
    assert found["all"] == found["train"] | found["eval"] and found["eval"]["epoch"] == 3.0
    assert found["eval"]["eval_accuracy"] == 0.5 and found["eval"]["eval_steps_per_second"] == pytest.approx(1e9)
