"""Cheap dropout has the statistics of dropout."""

import pytest
import torch

from plugins.modules.dropout import Dropout, dropout

N = 400_000


def kept(size, p):
    return dropout(torch.ones(size), p, True) != 0


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_drops_at_the_requested_rate(p):
    dropped = (dropout(torch.ones(N), p, True) == 0).double().mean().item()
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / N) ** 0.5)


def test_survivors_are_scaled_so_that_the_mean_is_kept():
    assert sorted(set(dropout(torch.ones(1000), 0.2, True).tolist())) == [0.0, 1.25]


@pytest.mark.parametrize("lane", range(4))
def test_each_of_the_four_lanes_of_a_draw_drops_at_the_rate(lane):
    share = kept(4 * N, 0.3)[lane::4].double().mean().item()
    assert share == pytest.approx(0.7, abs=5 * (0.21 / N) ** 0.5)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 64])
def test_neighbors_are_independent(lag):
    mask = kept(N, 0.3).double()
    assert torch.corrcoef(torch.stack([mask[:-lag], mask[lag:]]))[0, 1].abs().item() < 5 / N**0.5


@pytest.mark.parametrize("a, b", [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_the_lanes_of_a_draw_are_independent(a, b):
    mask = kept(4 * N, 0.5).double().view(-1, 4)
    assert torch.corrcoef(mask[:, [a, b]].t())[0, 1].abs().item() < 5 / N**0.5


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 7])
def test_any_number_of_elements(size):
    assert dropout(torch.ones(size), 0.5, True).shape == (size,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_keeps_the_type(dtype):
    assert dropout(torch.ones(9, dtype=dtype), 0.5, True).dtype == dtype


def test_works_on_a_transposed_tensor():
    x = torch.arange(1.0, 13).view(3, 4).t()
    out = dropout(x, 0.5, True)
    assert torch.equal(out[out != 0], 2 * x[out != 0])


def test_the_seed_of_torch_decides():
    torch.manual_seed(7)
    first = dropout(torch.ones(100), 0.5, True)
    second = dropout(torch.ones(100), 0.5, True)
    torch.manual_seed(7)
    assert torch.equal(dropout(torch.ones(100), 0.5, True), first)
    assert not torch.equal(second, first)


def test_the_gradient_passes_the_same_mask():
    x = torch.ones(1000, requires_grad=True)
    out = dropout(x, 0.4, True)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_evaluation_changes_nothing():
    x = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_a_probability_of_one_drops_everything():
    assert dropout(torch.ones(50), 1.0, True).tolist() == [0.0] * 50


def test_the_input_is_not_changed():
    x = torch.ones(100)
    dropout(x, 0.5, True)
    assert torch.equal(x, torch.ones(100))
