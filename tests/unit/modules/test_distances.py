"""Distances: values, and gradients that stay finite at equal and at zero rows."""

import pytest
import torch
import toy

from plugins.modules import distances


def rows(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_values_of_both_distances():
    x, y = rows([0.0, 0.0], [3.0, 4.0]), rows([3.0, 0.0])
    assert distances.pairwise(x, y).tolist() == [[3.0], [4.0]]
    assert distances.pairwise(x, y, "cosine")[:, 0].tolist() == pytest.approx([1.0, 0.4])
    assert distances.rowwise(x, y.expand(2, 2), "cosine").tolist() == pytest.approx([1.0, 0.4])


@pytest.mark.parametrize("distance", distances.DISTANCES)
def test_equal_rows_have_a_finite_gradient(distance):
    x = rows([1.0, 2.0], [1.0, 2.0], [0.0, 1.0])
    distances.pairwise(x, x, distance).sum().backward()
    assert torch.isfinite(x.grad).all()
    x.grad = None
    distances.rowwise(x, x, distance).sum().backward()
    assert x.grad.abs().max() < 1e-12


def test_a_zero_row_has_similarity_zero_and_a_moderate_gradient():
    x, y = rows([0.0, 0.0]), rows([1.0, 0.0])
    cos = distances.cosine_similarities(x, y)
    cos.sum().backward()
    assert cos.item() == 0
    assert x.grad.abs().max() <= 1


def test_near_rows_do_not_cancel_in_float32():
    x = torch.full((64, 300), 10.0)  # the form with products needs 25 rows to become active
    y = x + 1e-3
    assert distances.pairwise(x, y)[0, 0].item() == pytest.approx(1e-3 * 300**0.5, rel=1e-2)


def test_half_precision_is_computed_in_float32():
    x = torch.randn(4, 8).bfloat16()
    assert distances.pairwise(x, x).dtype == torch.float32


def test_an_unknown_distance_is_named():
    with toy.refused("'manhattan'", error=ValueError):
        distances.pairwise(torch.ones(1, 1), torch.ones(1, 1), "manhattan")
