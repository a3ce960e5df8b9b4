"""Hyperparameters: the published defaults, and the range of each."""

import pytest
import toy

from plugins.glue import hyperparameters
from plugins.glue.hyperparameters import checked


def test_defaults_are_robertas():
    """Liu et al., 2019, table 10."""
    defaults = hyperparameters.HYPERPARAMETERS
    numbers = ("epochs", "lr", "batch_size", "warmup", "dropout", "weight_decay", "clip_norm")
    assert [defaults[name] for name in numbers] == [10, [1e-5], [16], 0.06, 0.1, 0.1, 0.0]
    ours = ("pooler_type", "layer_lr_decay", "reinit_layers", "max_positions", "max_tokens", "options")
    assert [defaults[name] for name in ours] == ["bos", 1.0, 0, None, None, ""], "nothing that RoBERTa did not do"


ACCEPTED = [
    ("epochs", 1, 1), ("epochs", "1e1", 10), ("lr", 1e-9, [1e-9]), ("batch_size", [8, 8.0, 16], [8, 16]),
    ("warmup", 0, 0), ("dropout", 0.999, 0.999), ("weight_decay", 0, 0), ("clip_norm", 5, 5), ("layer_lr_decay", 1, 1),
    ("reinit_layers", 0, 0), ("max_positions", None, None), ("max_tokens", 1, 1), ("seeds", 0, [0]),
    ("intermediate", None, None), ("intermediate", "MNLI", "MNLI"), ("options", "--a 'b c'", "--a 'b c'"),
]  # fmt: skip
REFUSED = [
    ("epochs", 0), ("epochs", None), ("lr", 0), ("lr", "inf"), ("batch_size", 0.5), ("warmup", 1), ("warmup", -0.1),
    ("dropout", 1), ("weight_decay", -1), ("weight_decay", "inf"), ("clip_norm", "nan"), ("layer_lr_decay", 0),
    ("layer_lr_decay", 1.01), ("reinit_layers", -1), ("max_positions", 0), ("max_tokens", 0), ("seeds", -1),
    ("seeds", True), ("intermediate", ""), ("options", 5), ("options", None), ("pooler_type", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "given", "found"), ACCEPTED)
def test_a_value_in_its_range_is_accepted(key, given, found):
    assert checked(key, given, "source") == found


@pytest.mark.parametrize(("key", "given"), REFUSED)
def test_a_value_out_of_its_range_is_named(key, given):
    with toy.refused("--flag", repr(given)):
        checked(key, given, "--flag")


def test_tasks_differ_in_what_fairseqs_recipes_differ_in():
    assert hyperparameters.BY_TASK == {
        "RTE": {"lr": [2e-5]}, "STS-B": {"lr": [2e-5]}, "SST-2": {"batch_size": [32]}, "QNLI": {"batch_size": [32]},
        "QQP": {"batch_size": [32]}, "MNLI": {"batch_size": [32]},
    }  # fmt: skip


def test_an_empty_file_has_no_hyperparameters(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    assert hyperparameters.read_yaml(tmp_path / "a.yaml") == {"tasks": {}}
    (tmp_path / "a.yaml").write_text("tasks:\nepochs: 2\n")
    assert hyperparameters.read_yaml(tmp_path / "a.yaml") == {"tasks": {}, "epochs": 2}
