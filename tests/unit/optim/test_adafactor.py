"""Adafactor: fairseq's update, this package's parameter groups."""

import pytest
import torch
from fairseq.optim import OPTIMIZER_REGISTRY
from fairseq.optim import adafactor as stock
from omegaconf import OmegaConf

from plugins.optim.adafactor import Adafactor, AdafactorConfig


def build(kind, params, **options):
    return kind(OmegaConf.structured(AdafactorConfig(lr=[0.01], **options)), params)


def parameters():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(*shape)) for shape in ((5, 4), (4,), (3, 5))]


def trained(kind, steps=5, mark=None, **options):
    params = parameters()
    if mark:
        params[0].lr_scale = mark
    optimizer = build(kind, params, **options)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
    return params, optimizer


def test_the_optimizer_is_selected_by_its_name():
    assert OPTIMIZER_REGISTRY["adafactor"] is Adafactor
    assert Adafactor.__name__ == "FairseqAdafactor"  # in the history of checkpoints


@pytest.mark.parametrize("options", [{}, {"beta1": 0.9}])
def test_equals_fairseqs(options):
    for ours, theirs in zip(
        trained(Adafactor, **options)[0], trained(stock.FairseqAdafactor, **options)[0], strict=True
    ):
        assert torch.equal(ours, theirs)


def test_second_moments_of_a_matrix_are_a_row_and_a_column():
    params, optimizer = trained(Adafactor)
    state = optimizer.optimizer.state[params[0]]
    assert (state["exp_avg_sq_row"].numel(), state["exp_avg_sq_col"].numel()) == (5, 4)


def test_parameters_learn_at_their_multiple_of_the_rate():
    before = parameters()[0]
    whole = trained(Adafactor, steps=1)[0][0] - before
    half = trained(Adafactor, steps=1, mark=0.5)[0]
    assert torch.equal(half[0] - before, whole)  # the rate of the first step precedes set_lr
    params, optimizer = trained(Adafactor, steps=0, mark=0.5)
    optimizer.set_lr(0.01)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [0.005, 0.01]
    assert optimizer.get_lr() == 0.01


def test_only_matrices_decay():
    _, optimizer = trained(Adafactor, steps=0, weight_decay=0.1)
    shapes = {group["weight_decay"]: [p.ndim for p in group["params"]] for group in optimizer.param_groups}
    assert shapes == {0.1: [2, 2], 0.0: [1]}


def test_scaled_rates_do_not_multiply_over_the_parameters():
    """Each tensor moves by the rate times its own root mean square, times the clipped update of mean square 1."""
    before = parameters()
    after, optimizer = trained(Adafactor, steps=1, scale_parameter=True)
    for old, new in zip(before, after, strict=True):
        rms = float(old.detach().square().mean().sqrt())
        assert float((new - old).detach().square().mean().sqrt()) == pytest.approx(0.01 * rms, rel=0.05)
    assert optimizer.get_lr() == 0.01


def test_relative_steps_need_no_learning_rate():
    _, optimizer = trained(Adafactor, steps=0, relative_step=True)
    optimizer.set_lr(0.5)  # by the schedule
    params, _ = trained(Adafactor, steps=1, relative_step=True)
    assert all(torch.isfinite(p).all() for p in params)


def test_a_restart_continues_bit_for_bit():
    whole, _ = trained(Adafactor, steps=2, scale_parameter=True)
    params, optimizer = trained(Adafactor, steps=1, scale_parameter=True)
    resumed = build(Adafactor, params, scale_parameter=True)
    resumed.load_state_dict(optimizer.state_dict())
    generator = torch.Generator().manual_seed(1)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)
    resumed.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, params, strict=True))


def stepped(kind, **options):
    """Return a matrix after three updates with small gradients."""
    torch.manual_seed(0)
    param = torch.nn.Parameter(torch.randn(5, 4))
    optimizer = build(kind, [param], **options)
    for step in range(3):
        param.grad = torch.randn(5, 4, generator=torch.Generator().manual_seed(step)) * 0.01
        optimizer.step()
    return param.detach()


@pytest.mark.parametrize(
    "options",
    [{"adafactor_eps": "(1e-2, 1e-3)"}, {"clip_threshold": 0.5}, {"decay_rate": -0.5}, {"weight_decay": 0.5}],
    ids=str,
)
def test_each_option_is_fairseqs_and_changes_the_update(options):
    found = stepped(Adafactor, **options)
    torch.testing.assert_close(found, stepped(stock.FairseqAdafactor, **options))
    assert not torch.allclose(found, stepped(Adafactor), rtol=1e-4)


def test_options_may_be_lists_and_relative_steps_are_those_of_the_paper():
    assert torch.equal(stepped(Adafactor, adafactor_eps=[1e-2, 1e-3]), stepped(Adafactor, adafactor_eps="(1e-2, 1e-3)"))
    for warmup in (False, True):
        torch.manual_seed(0)
        param = torch.nn.Parameter(torch.randn(5, 4))
        reference = stock.Adafactor([param], scale_parameter=False, relative_step=True, warmup_init=warmup)
        for step in range(3):
            param.grad = torch.randn(5, 4, generator=torch.Generator().manual_seed(step)) * 0.01
            reference.step()
        assert torch.equal(stepped(Adafactor, relative_step=True, warmup_init=warmup), param)


def test_the_rate_of_relative_steps_is_0_before_the_first():
    _, optimizer = trained(Adafactor, steps=0, relative_step=True)
    assert optimizer.get_lr() == 0.0
    assert trained(Adafactor, steps=0)[1].get_lr() == 0.01


def test_the_loss_of_a_closure_is_returned():
    (param, *_), optimizer = trained(Adafactor, steps=1)
    assert optimizer.optimizer.step(lambda: 7.0) == 7.0


def test_without_weight_decay_there_is_one_group_as_in_fairseqs_checkpoints():
    assert len(trained(Adafactor, steps=0)[1].param_groups) == 1
