"""What a checkpoint may contain; anything else is one line that names the file and the part."""

import argparse

import pytest
import torch
import toy

from plugins.checkpoints import schema
from plugins.errors import UserError


def laughs():
    """A structure of 2**60 paths in a few objects."""
    value = ["x"]
    for _ in range(60):
        value = [value, value]
    return value


def deep():
    value = 1
    for _ in range(200):
        value = [value]
    return value


WRONG = {
    "model": [None, [1], {1: torch.ones(2)}, {"w": 5}, {"w": torch.ones(2, dtype=torch.int64)}],
    "args": [{}, "x", 5],
    "cfg": ["x", 5, {"model": "clap_roberta"}, {"model": 5}, {"task": [1]}, {"bpe": 3}],
    "optimizer_history": [5, "x", [], [1], [{"num_updates": "many"}], [{"num_updates": -1}], [{"num_updates": True}]],
    "task_state": [5, [1], deep()],
    "extra_state": [5, laughs()],
    "last_optimizer_state": [5],
    "model_args": [[1], {"n_layer": float("inf")}],
}
CASES = [(part, value) for part, values in WRONG.items() for value in values]


@pytest.mark.parametrize("part, value", CASES, ids=[f"{part}-{i}" for i, (part, _) in enumerate(CASES)])
def test_a_part_of_the_wrong_type_is_named(part, value):
    state = {"model": {"w": torch.ones(2)}, part: value}
    with pytest.raises(UserError) as error:
        schema.check(state, "x.pt")
    message = str(error.value)
    assert message.startswith("x.pt: ")
    assert "\n" not in message
    assert len(message) < 500
    assert part == "model" or part.split("_")[0] in message


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${oc.decode:x}", "a${b}", "${now:%Y}"])
@pytest.mark.parametrize("where", ["args", "cfg"])
def test_an_option_that_refers_to_the_outside_is_refused(value, where):
    options = argparse.Namespace(arch="x", deep=[value]) if where == "args" else {"task": {"data": {"deep": [value]}}}
    with toy.refused("x.pt"):
        schema.check({"model": {}, where: options}, "x.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_named(bad):
    weights = {"good": torch.full((4,), 3e38), "bad": torch.tensor([1.0, bad])}
    with toy.refused("x.pt", "weight bad"):
        schema.check_finite(weights, "x.pt")
    schema.check_finite({"good": torch.full((4,), 3e38), "half": torch.full((9,), 6e4).half()}, "x.pt")


def test_what_fairseq_stores_passes():
    state = {
        "args": argparse.Namespace(arch="roberta_base", lr=[0.1], data="/far/away"),
        "cfg": None,
        "model": {"encoder.w": torch.ones(2, 3).half(), "encoder.version": torch.ones(1, dtype=torch.int64)},
        "optimizer_history": [{"num_updates": 3, "lr_scheduler_state": {"best": None}}],
        "last_optimizer_state": {"state": {}},
        "extra_state": {"train_iterator": {"epoch": 1, "shuffle": True}},
        "task_state": {},
    }
    assert schema.check(state, "x.pt") is state
