"""Layer-wise learning rates in fused_adamw."""

import torch
from omegaconf import OmegaConf

from plugins.optim.fused_adamw import FusedAdamW, FusedAdamWConfig


def build(params):
    options = {"adam_betas": "(0.9, 0.98)", "lr": [0.1]}
    return FusedAdamW(OmegaConf.structured(FusedAdamWConfig(**options)), params)


def test_a_parameter_learns_at_its_share_of_the_learning_rate():
    full, half = (torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(2))
    half.lr_scale = 0.5
    optimizer = build([full, half])
    optimizer.set_lr(0.01)
    for p in (full, half):
        p.grad = torch.ones_like(p)
    optimizer.step()
    torch.testing.assert_close(full.data, torch.full((2, 2), -0.01), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(half.data, torch.full((2, 2), -0.005), atol=1e-6, rtol=1e-4)
    assert optimizer.get_lr() == 0.01


def test_the_scale_is_that_of_the_run_and_not_of_a_loaded_state():
    p = torch.nn.Parameter(torch.zeros(2, 2))
    state = build([p]).state_dict()
    p.lr_scale = 0.25
    optimizer = build([p])
    optimizer.load_state_dict(state)
    optimizer.set_lr(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]


def test_the_rate_is_the_full_one_where_every_parameter_is_scaled():
    half = torch.nn.Parameter(torch.zeros(2, 2))
    half.lr_scale = 0.5
    optimizer = build([half])
    optimizer.set_lr(0.01)
    assert (optimizer.param_groups[0]["lr"], optimizer.get_lr()) == (0.005, 0.01)


def test_a_loaded_rate_is_scaled_by_this_runs_shares():
    full = torch.nn.Parameter(torch.zeros(2, 2))
    saved = build([full])
    saved.set_lr(0.2)
    full.lr_scale = 0.5
    optimizer = build([full])
    optimizer.load_state_dict(saved.state_dict())
    assert (optimizer.param_groups[0]["lr"], optimizer.get_lr()) == (0.1, 0.2)


def test_larger_shares_come_first_among_the_decayed_and_then_the_others():
    """The order in which checkpoints store the states of parameters."""
    matrices, vectors = ([torch.nn.Parameter(torch.zeros(shape)) for _ in range(2)] for shape in ((2, 2), (2,)))
    for params in (matrices, vectors):
        params[0].lr_scale = 0.5
    groups = build([*vectors, *matrices]).param_groups
    assert [(group["params"][0].ndim, group["lr_scale"]) for group in groups] == [
        (2, 1.0),
        (2, 0.5),
        (1, 1.0),
        (1, 0.5),
    ]
