"""The linear layer of decoders is torch's, by another route where rows are few."""

import pytest
import torch
import torch.nn.functional as F

from plugins.modules import products
from plugins.modules.linear import LARGE, LEAST_WEIGHTS, MOST_ROWS, DecodingLinear, sums_of_products


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.parametrize("outputs", [512, 513])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1), (3, 5), (MOST_ROWS,), ()])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_few_rows_give_what_torch_gives(two_cores, shape, outputs, bias):
    layer, x = DecodingLinear(512, outputs, bias=bias), torch.randn(*shape, 512)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-5, rtol=0)


def count_shared(monkeypatch):
    """Return a list that each shared product adds to."""
    calls, bmm = [], torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *args: calls.append(1) or bmm(*args))
    return calls


@pytest.mark.parametrize(
    "rows, inputs, dtype, shared",
    [
        (1, 512, torch.float32, True),
        (MOST_ROWS, 512, torch.float32, True),
        (MOST_ROWS + 1, 512, torch.float32, False),
        (1, 128, torch.float32, False),
        (1, 512, torch.bfloat16, False),
    ],
)
def test_only_few_rows_of_many_float32_weights_are_shared_out(two_cores, monkeypatch, rows, inputs, dtype, shared):
    layer, calls = DecodingLinear(inputs, 512, dtype=dtype), count_shared(monkeypatch)
    with torch.inference_mode():
        layer(torch.randn(rows, inputs, dtype=dtype))
    assert bool(calls) == shared


def test_one_core_and_training_go_torchs_way(monkeypatch):
    layer, calls, x = DecodingLinear(512, 512), count_shared(monkeypatch), torch.randn(1, 512)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    layer(x).sum().backward()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with torch.no_grad():
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert not calls and layer.weight.grad is not None


@pytest.mark.parametrize("cores, parts", [(2, 2), (4, 4), (64, 4)])
def test_no_core_gets_so_few_weights_that_it_does_not_pay(monkeypatch, cores, parts):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    sizes, bmm = [], torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda x, w: sizes.append(len(w)) or bmm(x, w))
    with torch.inference_mode():
        DecodingLinear(512, 4 * LEAST_WEIGHTS // 512)(torch.randn(1, 512))
    assert sizes == [parts]


@pytest.mark.parametrize("rows", [1, 2])
def test_sums_of_products_are_the_product(rows):
    x, weight, bias = torch.randn(rows, 64), torch.randn(LARGE // 64 + 3, 64), torch.randn(LARGE // 64 + 3)
    torch.testing.assert_close(sums_of_products(x, weight, bias), F.linear(x, weight, bias), atol=1e-4, rtol=0)
