"""Summed cross-entropy equals torch's."""

import math

import pytest
import torch
import torch.nn.functional as F

from plugins.modules.cross_entropy import summed_cross_entropy


def both(logits, target):
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    a = summed_cross_entropy(ours, target)
    b = F.cross_entropy(theirs, target, reduction="sum")
    (a * 3).backward()
    (b * 3).backward()
    return (a.double(), ours.grad.double()), (b, theirs.grad)


@pytest.mark.parametrize("scale", [1, 30, 1000], ids=["mild", "confident", "far apart"])
def test_equals_torchs_in_float64(scale):
    (loss, grad), (expected, expected_grad) = both(scale * torch.randn(6, 50), torch.randint(50, (6,)))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


def test_a_target_of_vanishing_probability_costs_its_distance():
    assert summed_cross_entropy(torch.tensor([[0.0, -500.0]]), torch.tensor([1])).item() == 500.0


def test_excluded_words_cost_nothing():
    logits = torch.tensor([[0.0, -math.inf, 0.0]])
    (loss, grad), _ = both(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log(2))
    assert grad.tolist() == [[-1.5, 0.0, 1.5]]


def test_nothing_to_predict_costs_nothing():
    logits = torch.empty(0, 5, requires_grad=True)
    loss = summed_cross_entropy(logits, torch.empty(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_the_logits_are_not_changed():
    logits = torch.randn(3, 4, requires_grad=True)
    before = logits.detach().clone()
    summed_cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert torch.equal(logits, before)
