"""Matrix products in a chosen type, by a chosen library."""

import os
import platform

import pytest
import torch
import torch.nn.functional as F

from plugins.modules import products

OTHER_PRODUCTS = platform.machine() != "x86_64" or "ONEDNN_MAX_CPU_ISA" in os.environ
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


def test_a_cpu_passes_half_precision_factors_in_float32():
    x, weight = torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16)
    assert products.types_of(x, weight) == (torch.bfloat16, torch.float32, torch.float32)
    assert products.types_of(x.double(), weight) == (torch.float64,) * 3
    with torch.autocast("cpu", torch.bfloat16):
        assert products.types_of(x.float(), weight.float()) == (torch.bfloat16, torch.float32, torch.float32)


@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("rounded", [torch.bfloat16, torch.float32, torch.float16])
def test_the_library_of_a_cpu_is_chosen_within_the_context_only(monkeypatch, rounded, faster):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: faster)
    chosen = rounded == torch.bfloat16 or (rounded == torch.float32 and faster)
    options = torch.backends.mkldnn.matmul
    before = options.fp32_precision
    with pytest.raises(ZeroDivisionError):
        with products.cpu_products(torch.device("cpu"), rounded):
            assert options.fp32_precision == ("bf16" if chosen else before)
            raise ZeroDivisionError
    assert options.fp32_precision == before
    with products.cpu_products(torch.device("cuda"), torch.bfloat16):
        assert options.fp32_precision == before


def test_the_option_is_restored_when_the_last_of_several_threads_leaves():
    options, cpu = torch.backends.mkldnn.matmul, torch.device("cpu")
    before = options.fp32_precision
    first, second = (products.cpu_products(cpu, torch.bfloat16) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert options.fp32_precision == "bf16"
    second.__exit__(None, None, None)
    assert options.fp32_precision == before


@pytest.mark.skipif(OTHER_PRODUCTS, reason="other products")
def test_products_round_their_factors_if_and_only_if_they_are_said_to():
    cpu, types = torch.device("cpu"), (torch.bfloat16, torch.float32, torch.float32)
    between, ones = torch.full((64, 64), 1 + 2**-9), torch.ones(64, 64)  # bfloat16 rounds it to 1
    with products.cpu_products(cpu, torch.bfloat16):
        found = products.product(between, ones, torch.float32)[0, 0].item()
    assert found == (64 if products.rounds(cpu, types) else 64.125)


@pytest.mark.parametrize("amx", [True, False])
def test_a_cpu_rounds_to_bfloat16_only_and_with_amx_only(monkeypatch, amx):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": amx})
    cpu, full = torch.device("cpu"), torch.float32
    assert products.rounds(cpu, (torch.bfloat16, full, full)) is amx
    assert not products.rounds(cpu, (torch.float16, full, full))
    assert products.rounds(torch.device("cuda"), (torch.bfloat16, torch.bfloat16, full))


@pytest.mark.parametrize(
    "found, dtype",
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": True}, torch.float32),  # products of float32 round their factors themselves
        ({}, torch.float32),
    ],
    ids=str,
)
def test_factors_of_gradients_are_bfloat16_where_only_that_takes_its_instructions(monkeypatch, found, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    cpu, full = torch.device("cpu"), torch.float32
    assert products.gradient_factor(cpu, (torch.bfloat16, full, full)) == dtype
    assert products.gradient_factor(cpu, (torch.float16, full, full)) == full
    assert products.gradient_factor(torch.device("cuda"), (torch.float16, torch.float16, full)) == torch.float16


@pytest.mark.parametrize(
    "found, faster",
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_f": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_f": True, "amx_bf16": True}, False),  # its products would be rounded
        ({"cpu_name": "Intel Xeon", "avx512_f": True}, False),
        ({}, False),
    ],
)
def test_onednn_is_faster_on_cpus_of_amd_with_avx512(monkeypatch, found, faster):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    libraries = torch.backends.mkldnn, torch.backends.mkl
    for library in libraries:
        monkeypatch.setattr(library, "is_available", lambda: True)
    assert products.onednn_is_faster.__wrapped__() is faster
    for library in libraries:
        monkeypatch.setattr(library, "is_available", lambda: False)
        assert not products.onednn_is_faster.__wrapped__()
        monkeypatch.setattr(library, "is_available", lambda: True)


@pytest.fixture
def onednn(monkeypatch):
    """Let oneDNN compute all float32 products."""
    if OTHER_PRODUCTS or torch.cpu.get_capabilities().get("amx_bf16"):
        pytest.skip("oneDNN may round the factors here")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(products, "LEAST_WORK", 0)


def test_only_products_of_several_rows_and_much_work_are_onednns(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    weight = torch.zeros(1024, 1024)
    found = [products.suits_onednn(torch.zeros(*rows, 1024), weight) for rows in ((1,), (), (1, 2), (2, 1))]
    assert found == [False, False, True, True] and not products.suits_onednn(torch.zeros(2, 1024), weight[1:])
    with torch.autocast("cpu", torch.bfloat16):
        assert not products.suits_onednn(torch.zeros(2, 1024), weight)


def with_gradients(function, *inputs):
    """Return the result of a function of leaves, and the gradients of the sum of its squares."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    result = function(*inputs)
    return [result, *torch.autograd.grad(result.square().sum(), inputs)]


@pytest.mark.parametrize("rows", [(40,), (3, 8), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_by_onednn_equals_torchs_with_all_gradients(onednn, rows, bias):
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn(*rows, 24, generator=generator), torch.randn(70, 24, generator=generator)
    inputs = [x, weight] + [torch.randn(70, generator=generator)] * bias
    expected = with_gradients(F.linear, *(x.double() for x in inputs))
    for found, exact in zip(with_gradients(products.linear, *inputs), expected, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


def test_a_batched_product_by_onednn_equals_torchs_with_all_gradients(onednn):
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(2, 20, 3, 8, generator=generator).transpose(1, 2)
    b = torch.randn(2, 3, 30, 8, generator=generator).mT
    expected = with_gradients(torch.matmul, a.double(), b.double())
    for found, exact in zip(with_gradients(products.matmul, a, b), expected, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rows", [(0,), (5, 7), (3, 0)])
def test_gradients_of_a_sum_and_of_no_rows_are_torchs(onednn, rows):
    inputs = [torch.randn(*rows, 16, requires_grad=True), torch.randn(9, 16, requires_grad=True)]
    found, expected = (torch.autograd.grad(f(*inputs).sum(), inputs) for f in (products.linear, F.linear))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("function, torchs", [(products.linear, F.linear), (products.matmul, torch.matmul)])
def test_gradients_of_gradients_and_of_each_row_are_torchs(onednn, function, torchs):
    a, b = torch.randn(6, 20, 20), torch.randn(20, 20)

    def of_gradient(f):
        leaf = a[0].clone().requires_grad_()
        (grad,) = torch.autograd.grad(f(leaf, b).tanh().sum(), leaf, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), leaf)[0]

    def of_each(f):
        return torch.func.vmap(torch.func.grad(lambda b, a: f(a, b).tanh().sum()), (None, 0))(b, a)

    torch.testing.assert_close(of_gradient(function), of_gradient(torchs), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(of_each(function), of_each(torchs), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("function, torchs", [(products.linear, F.linear), (products.matmul, torch.matmul)])
def test_forward_derivatives_and_traces_are_torchs(onednn, tmp_path, function, torchs):
    a, b = torch.randn(20, 20), torch.randn(20, 20)
    found, expected = (torch.func.jvp(f, (a, b), (b, a)) for f in (function, torchs))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    traced = torch.jit.trace(function, (a, b))
    traced.save(str(tmp_path / "traced.pt"))  # as a call of Python it could not be saved
    torch.testing.assert_close(traced(a, b), torchs(a, b), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("function", [products.linear, products.matmul])
def test_a_product_keeps_only_what_its_gradients_need(onednn, function, frozen):
    factors = [torch.randn(20, 20).requires_grad_(i != frozen) for i in range(2)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        result = function(*factors)
    assert [tensor.data_ptr() for tensor in kept] == [factors[frozen].data_ptr()]
    result.sum().backward()
    assert factors[frozen].grad is None and factors[1 - frozen].grad is not None


def test_both_passes_of_a_chosen_product_are_computed_by_onednn(onednn, monkeypatch):
    chosen, options = [], torch.backends.mkldnn.matmul

    def mm(a, b, matmul=torch.Tensor.__matmul__):
        chosen.append(options.fp32_precision)
        return matmul(a, b)

    def linear(*inputs, linear=F.linear):
        chosen.append(options.fp32_precision)
        return linear(*inputs)

    monkeypatch.setattr(torch.Tensor, "__matmul__", mm)
    monkeypatch.setattr(F, "linear", linear)
    with_gradients(products.linear, torch.randn(20, 4), torch.randn(6, 4))
    with_gradients(products.matmul, torch.randn(1, 20, 4), torch.randn(1, 4, 6))
    assert chosen == ["bf16"] * 6 and options.fp32_precision != "bf16"


def test_products_under_autocast_keep_its_type(onednn):
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(torch.randn(20, 4), torch.randn(6, 4)).dtype == torch.bfloat16
        assert products.matmul(torch.randn(20, 4), torch.randn(4, 6)).dtype == torch.bfloat16
