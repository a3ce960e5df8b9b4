"""Groups of parameters by weight decay and scale of the learning rate."""

import pytest
import torch

from plugins.optim import groups
from plugins.optim.adafactor import AdafactorConfig
from plugins.optim.adamw_8bit import AdamW8bitConfig
from plugins.optim.fused_adamw import FusedAdamWConfig


def parameter(*shape, **marks):
    made = torch.nn.Parameter(torch.zeros(*shape))
    for name, value in marks.items():
        setattr(made, name, value)
    return made


def test_matrices_decay_and_vectors_do_not():
    assert groups.is_decayed(parameter(2, 3)) and groups.is_decayed(parameter(2, 3, 1))
    assert not groups.is_decayed(parameter(3)) and not groups.is_decayed(parameter(1, 1, no_weight_decay=True))


def test_decayed_groups_come_first_then_larger_scales():
    matrix, vector = parameter(2, 2), parameter(2)
    slow, fast = parameter(2, 2, lr_scale=0.25), parameter(2, lr_scale=4.0)
    found = groups.groups_of([vector, slow, fast, matrix])
    assert [[id(p) for p in group["params"]] for group in found] == [[id(p)] for p in (matrix, slow, fast, vector)]
    assert [group.get("weight_decay") for group in found] == [None, None, 0.0, 0.0]
    assert all("weight_decay" not in group for group in groups.groups_of([matrix, vector], decay_all=True))


class Optimizer(groups.GroupedOptimizer):
    """An optimizer with one group for each weight."""

    def __init__(self, *weights):
        super().__init__(None)
        parameters = [parameter(2, 2, lr_scale=scale) for scale in weights]
        self._optimizer = torch.optim.AdamW(groups.groups_of(parameters), lr=0.5, weight_decay=0.1)


def test_the_rate_of_each_group_is_scaled_and_that_of_the_run_is_not():
    optimizer = Optimizer(2.0, 0.25)
    optimizer.set_lr(0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.025] and optimizer.get_lr() == 0.1
    assert not optimizer.supports_flat_params


def test_a_loaded_state_keeps_the_scales_and_the_decay_of_this_run():
    saved, optimizer = Optimizer(2.0, 0.25), Optimizer(4.0, 0.5)
    saved.set_lr(0.1)
    state = saved.state_dict()
    for group in state["param_groups"]:
        group["weight_decay"] = 0.7
    optimizer.load_state_dict(state)
    assert [group["lr_scale"] for group in optimizer.param_groups] == [4.0, 0.5]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1]
    assert [group["lr"] for group in optimizer.param_groups] == [0.4, 0.05] and optimizer.get_lr() == 0.1
    for group in state["param_groups"]:
        del group["lr_scale"]  # of fairseq's adam, whose rate has no scale
        group["lr"] = 0.3
    optimizer.load_state_dict(state)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(1.2), 0.15]


@pytest.mark.parametrize("config, expected", [
    (FusedAdamWConfig, {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.0, "decay_all": False}),
    (AdamW8bitConfig, {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.0, "decay_all": False}),
    (AdafactorConfig, {"adafactor_eps": "(1e-30, 1e-3)", "clip_threshold": 1.0, "decay_rate": -0.8, "beta1": None,
                       "weight_decay": 0.0, "scale_parameter": False, "relative_step": False, "warmup_init": False}),
])  # fmt: skip
def test_defaults_are_fairseqs(config, expected):
    assert {name: getattr(config(), name) for name in expected} == expected
