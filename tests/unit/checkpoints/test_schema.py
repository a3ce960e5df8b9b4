"""What a checkpoint may contain; anything else is one line that names the file and the part."""

import argparse

import pytest
import torch
import toy
from omegaconf import OmegaConf

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
    "model": [None, [1], {1: torch.ones(2)}, {"w": 5}, {"w": torch.ones(2, dtype=torch.int64)},
              {"w" * 1001: torch.ones(2)}, {"w": torch.ones(2).to_sparse()}, {"w": torch.ones(2, device="meta")},
              {"w": torch.ones(2).expand(3, 2)}, {"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}],
    "args": [{}, "x", 5, argparse.Namespace(arch="x" * 1_000_001), argparse.Namespace(arch=[b"x" * 1_000_001])],
    "cfg": ["x", 5, {"model": "clap_roberta"}, {"model": 5}, {"task": "glue"}, {"task": [1]}, {"bpe": 3},
            {"criterion": 5}, {"tokenizer": 5}, {"optimizer": 5}, {"lr_scheduler": 5}, {"common_eval": 5},
            {"checkpoint": 5}, argparse.Namespace(model=5)],
    "optimizer_history": [5, "x", [], [1], [{"num_updates": "many"}], [{"num_updates": -1}], [{"num_updates": True}]],
    "task_state": [5, [1], deep()],
    "extra_state": [5, laughs()],
    "last_optimizer_state": [5],
    "model_args": [[1], {"n_layer": float("inf")}],
}  # fmt: skip
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


def test_objects_that_fairseq_stores_are_accepted():
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


def nested(depth):
    value = {1.5}
    for _ in range(depth):
        value = (value,)
    return value


def test_the_limits_are_what_is_still_allowed(monkeypatch):
    def passes(**parts):
        return schema.check({"model": {"w" * 1000: torch.ones(2)}, **parts}, "x.pt")

    passes(args=argparse.Namespace(a="x" * 1_000_000), task_state={"long": "x" * 1_000_001})
    passes(optimizer_history=[{"num_updates": 0}, {}], model_args={"n_layer": 1.5}, extra_state={"best": float("inf")})
    passes(extra_state={"text": "${x}"}, cfg={"bpe": "gpt2", "tokenizer": None})
    passes(extra_state={"x": nested(38)})  # 40 levels: x, 38 tuples and what the set contains
    with toy.refused("x.pt", "extra_state"):
        passes(extra_state={"x": nested(39)})
    monkeypatch.setattr(schema, "MOST_VALUES", 5)
    passes(extra_state={"a": [1, 2, 3]})  # the two containers count, too
    with toy.refused("x.pt", "extra_state", 5):
        passes(extra_state={"a": [1, 2, 3, 4]})


@pytest.mark.parametrize("name", ["peft.base", "encoder.version", "h.0.attn.bias", "masked_bias",
                                  "norm.num_batches_tracked", "position_ids", "_float_tensor"])  # fmt: skip
def test_buffers_of_whole_numbers_are_known_by_their_names(name):
    schema.check({"model": {name: torch.ones(2, dtype=torch.int64)}}, "x.pt")


def test_a_place_in_nested_options_is_named():
    with toy.refused("x.pt", "cfg.task.data", "${oc.env:HOME}"):
        schema.check({"model": {}, "cfg": {"task": {"data": ["${oc.env:HOME}"]}}}, "x.pt")
    with toy.refused("x.pt", "model_args.deep.n", "nan"):
        schema.check({"model": {}, "model_args": {"deep": {"n": float("nan")}}}, "x.pt")


def test_finite_weights_pass_though_their_sum_is_not_and_integers_are_not_summed():
    schema.check_finite({"large": torch.full((4,), 1e308, dtype=torch.float64)}, "x.pt")
    schema.check_finite({"whole": torch.ones(2, dtype=torch.int64)}, "x.pt")
    with toy.refused("x.pt", "weight bad", "2", "4"):
        schema.check_finite({"bad": torch.tensor([float("nan"), 1.0, float("inf"), 2.0])}, "x.pt")


def test_the_content_of_omegaconf_is_visited():
    with toy.refused("x.pt", "cfg.task.a"):
        schema.check({"model": {}, "cfg": OmegaConf.create({"task": {"a": ["${b}"]}})}, "x.pt")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2])
def test_quantized_weights_are_refused_by_their_name_and_type(dtype):
    with toy.refused("a.safetensors", "weight w", dtype):
        schema.check_tensors({"w": torch.zeros(4, dtype=torch.uint8).view(dtype)}, "a.safetensors")
