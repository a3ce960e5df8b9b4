"""The product with a table and its cross-entropy in one: equal to torch's, in any number of blocks."""

import math

import pytest
import torch
import torch.nn.functional as F

from plugins.modules import linear_cross_entropy as module
from plugins.modules.linear_cross_entropy import linear_cross_entropy

WORDS = 50


@pytest.fixture(params=[7, 50, 1024], ids=["8 blocks", "1 block", "1 unfilled block"])
def block(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", request.param)


def both(x, weight, target, bias=None, normalize=False):
    """Return loss and gradients of 3 times the loss: ours in float32, and of torch's functions in float64."""
    ours, theirs = ([t if t is None else t.detach().to(d).requires_grad_() for t in (x, weight, bias)]
                    for d in (torch.float32, torch.float64))  # fmt: skip
    loss = linear_cross_entropy(ours[0], ours[1], target, ours[2], normalize)
    table = F.normalize(theirs[1], dim=-1) if normalize else theirs[1]
    expected = F.cross_entropy(F.linear(theirs[0], table, theirs[2]), target, reduction="sum")
    for value in (loss, expected):
        (value * 3).backward()
    return [[value.detach().double(), *(t.grad.double() for t in tensors if t is not None)]
            for value, tensors in ((loss, ours), (expected, theirs))]  # fmt: skip


@pytest.mark.parametrize("predictions", [6, 16, 17, 30])  # of 16 channels
@pytest.mark.parametrize("scale", [1, 10, 100], ids=["mild", "confident", "far apart"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_equals_torchs_in_float64(block, predictions, scale, with_bias, normalize):
    x, weight, target = torch.randn(predictions, 16), torch.randn(WORDS, 16), torch.randint(WORDS, (predictions,))
    bias = torch.randn(WORDS) if with_bias else None
    for ours, theirs in zip(*both(scale * x, weight, target, bias, normalize), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * scale**2)


@pytest.mark.parametrize("predictions", [6, 30], ids=["fewer than channels", "more than channels"])
@pytest.mark.parametrize("frozen", ["features", "table", "both"])
def test_frozen_parameters_get_no_gradient_and_nothing_else_changes(block, predictions, frozen):
    x, weight, target = torch.randn(predictions, 16), torch.randn(WORDS, 16), torch.randint(WORDS, (predictions,))
    loss, grad_x, grad_weight = both(x, weight, target)[1]
    x.requires_grad_(frozen == "table")
    weight.requires_grad_(frozen == "features")
    ours = linear_cross_entropy(x, weight, target)
    assert ours.item() == pytest.approx(loss.item(), rel=1e-5)
    if frozen == "both":
        assert not ours.requires_grad
        return
    (ours * 3).backward()
    tensor, other, expected = (x, weight, grad_x) if frozen == "table" else (weight, x, grad_weight)
    assert other.grad is None
    torch.testing.assert_close(tensor.grad.double(), expected, rtol=1e-4, atol=1e-5)


def test_without_gradients_only_one_block_is_in_memory(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    made, new_empty = [], torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *size: made.append(size) or new_empty(self, *size))
    x, weight = torch.randn(30, 16, requires_grad=True), torch.randn(WORDS, 16, requires_grad=True)
    with torch.no_grad():
        linear_cross_entropy(x, weight, torch.randint(WORDS, (30,)))
    assert made == [(7, 30)]


def test_a_target_of_vanishing_probability_costs_its_distance():
    loss = linear_cross_entropy(torch.tensor([[1.0]]), torch.tensor([[0.0], [-500.0]]), torch.tensor([1]))
    assert loss.item() == 500.0


def test_excluded_words_cost_nothing_even_where_they_fill_a_block(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    x, weight = torch.ones(1, 1, requires_grad=True), torch.zeros(5, 1, requires_grad=True)
    bias = torch.tensor([0.0, 0.0, -math.inf, -math.inf, -math.inf])
    loss = linear_cross_entropy(x, weight, torch.tensor([0]), bias)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert weight.grad.squeeze(1).tolist() == [-0.5, 0.5, 0.0, 0.0, 0.0]


def test_a_zero_row_gets_no_gradient_if_rows_are_normalized():
    x, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    weight[2] = 0
    weight.requires_grad_()
    linear_cross_entropy(x, weight, torch.tensor([0, 2, 4]), normalize=True).backward()
    assert weight.grad[2].tolist() == [0.0] * 4
    assert x.grad.isfinite().all()


def test_nothing_to_predict_costs_nothing():
    x, weight = torch.empty(0, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = linear_cross_entropy(x, weight, torch.empty(0, dtype=torch.long), normalize=True)
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.count_nonzero() == 0


def test_a_second_backward_is_refused():
    x, weight = torch.randn(2, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = linear_cross_entropy(x, weight, torch.tensor([1, 3]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="linear_cross_entropy"):
        loss.backward()


def test_features_and_table_are_not_changed():
    x, weight = torch.randn(2, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    before = x.detach().clone(), weight.detach().clone()
    linear_cross_entropy(x, weight, torch.tensor([1, 3]), normalize=True).backward()
    assert torch.equal(x, before[0]) and torch.equal(weight, before[1])
