"""Products of features and a table in a chosen type."""

import os
import platform

import pytest
import torch

from plugins.modules import products

A, B = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.5], [0.0, 2.0]])
AB = [[1.0, 4.5], [3.0, 9.5]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_returned_in_the_type_and_written_to_out(dtype):
    assert products.product(A.to(dtype), B.to(dtype), torch.float32).tolist() == AB
    out = torch.empty(2, 2)
    assert products.product(A.to(dtype), B.to(dtype), torch.float32, out) is out and out.tolist() == AB


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_added_in_place(dtype):
    total = torch.ones(2, 2)
    products.add_product(total, A.to(dtype), B.to(dtype))
    assert total.tolist() == [[2.0, 5.5], [4.0, 10.5]]


def test_the_start_of_rows_is_viewed_as_predictions():
    rows = torch.arange(6.0).view(2, 3)
    assert products.reuse(rows, 2).tolist() == [[0, 1], [2, 3]]
    assert products.reuse(rows, 2).data_ptr() == rows.data_ptr()


def test_a_cpu_passes_half_precision_factors_in_float32():
    x, weight = torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16)
    assert products.types_of(x, weight) == (torch.bfloat16, torch.float32, torch.float32)
    assert products.types_of(x.double(), weight) == (torch.float64,) * 3
    with torch.autocast("cpu", torch.bfloat16):
        assert products.types_of(x.float(), weight.float()) == (torch.bfloat16, torch.float32, torch.float32)


@pytest.mark.parametrize("rounded, expected", [(torch.bfloat16, "bf16"), (torch.float32, None), (torch.float16, None)])
def test_a_cpu_rounds_factors_to_bfloat16_within_the_context_only(rounded, expected):
    options = torch.backends.mkldnn.matmul
    before = options.fp32_precision
    with pytest.raises(ZeroDivisionError):
        with products.rounded_products(torch.device("cpu"), (rounded, torch.float32, torch.float32)):
            assert options.fp32_precision == (expected or before)
            raise ZeroDivisionError
    assert options.fp32_precision == before
    with products.rounded_products(torch.device("cuda"), (torch.bfloat16,) * 3):
        assert options.fp32_precision == before


@pytest.mark.skipif(platform.machine() != "x86_64" or "ONEDNN_MAX_CPU_ISA" in os.environ, reason="other products")
def test_products_round_their_factors_if_and_only_if_they_are_said_to():
    cpu, types = torch.device("cpu"), (torch.bfloat16, torch.float32, torch.float32)
    between, ones = torch.full((64, 64), 1 + 2**-9), torch.ones(64, 64)  # bfloat16 rounds it to 1
    with products.rounded_products(cpu, types):
        found = products.product(between, ones, torch.float32)[0, 0].item()
    assert found == (64 if products.rounds(cpu, types) else 64.125)


@pytest.mark.parametrize("amx", [True, False])
def test_a_cpu_rounds_to_bfloat16_only_and_with_amx_only(monkeypatch, amx):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": amx})
    cpu, full = torch.device("cpu"), torch.float32
    assert products.rounds(cpu, (torch.bfloat16, full, full)) is amx
    assert not products.rounds(cpu, (torch.float16, full, full))
    assert products.rounds(torch.device("cuda"), (torch.bfloat16, torch.bfloat16, full))
