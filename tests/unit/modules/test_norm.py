"""L2 norms."""

import pytest
import torch

from plugins.modules.norm import LayerNorm, inverse_norm, l2_normalize, norm_floor


def test_normalizing_a_zero_vector_returns_zero_in_every_precision():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert l2_normalize(torch.zeros(2, 4, dtype=dtype)).tolist() == [[0.0] * 4] * 2


def test_normalized_rows_have_length_one():
    torch.testing.assert_close(l2_normalize(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))


def test_the_inverse_of_a_norm_is_zero_for_a_row_shorter_than_the_floor():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-7, 4e-7]])
    assert inverse_norm(rows).tolist() == pytest.approx([0.2, 0.0, 0.0])


def test_the_inverse_norm_of_a_zero_row_has_a_gradient_of_zero():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    inverse_norm(rows).sum().backward()
    torch.testing.assert_close(rows.grad, torch.tensor([[-0.024, -0.032], [0.0, 0.0]]))  # -w / |w|^3


def test_a_layer_norm_gives_the_type_of_autocast_and_only_there():
    norm, plain = LayerNorm(16), torch.nn.LayerNorm(16)
    plain.load_state_dict(norm.state_dict())
    x = 100 + torch.randn(5, 16)
    assert torch.equal(norm(x), plain(x))
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), plain(x), rtol=2**-8, atol=2**-8)  # as precise as bfloat16 is


def test_a_layer_norm_of_bfloat16_has_float32_parameters_and_gradients():
    norm, x = LayerNorm(16), torch.randn(5, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        norm(x).sum().backward()
    assert (x.grad.dtype, norm.weight.grad.dtype) == (torch.bfloat16, torch.float32)


def test_norms_whose_inverse_a_type_cannot_represent_count_as_zero():
    assert [norm_floor(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32)] == [1e-4, 1e-6, 1e-6]
