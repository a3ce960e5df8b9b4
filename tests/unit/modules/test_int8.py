"""Linear layers whose weights have eight bits."""

import pytest
import torch

from plugins.modules.int8 import Int8Linear, quantize
from plugins.modules.linear import DecodingLinear, sums_of_products


@pytest.mark.parametrize("bias", [True, False])
def test_a_row_is_scaled_so_that_its_largest_weight_is_127(bias):
    layer = torch.nn.Linear(3, 3, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[127.0, -63.6, 0.4], [0.0, 0.0, 0.0], [0.5, -1.0, 0.25]]))
    found = Int8Linear(layer)
    assert found.weight.tolist() == [[127, -64, 0], [0, 0, 0], [64, -127, 32]] and found.weight.dtype == torch.int8
    torch.testing.assert_close(found.scale[[0, 2]], torch.tensor([1.0, 1 / 127]))
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    expected = torch.tensor([[[127.0 - 128, 0.0, (64 - 254 + 96) / 127]]]) + (layer.bias.detach() if bias else 0)
    torch.testing.assert_close(found(x), expected)
    torch.testing.assert_close(sums_of_products(x, found.weight, found.bias, found.scale), expected)
    assert found(x.bfloat16()).dtype == torch.bfloat16 or bias
    assert "in_features=3, out_features=3" in repr(found) and not list(found.parameters())


def test_only_the_packages_linear_layers_are_replaced():
    inner = torch.nn.Sequential(DecodingLinear(2, 2), torch.nn.Linear(2, 2))
    model = torch.nn.ModuleDict({"a": DecodingLinear(2, 4), "b": inner})
    quantize(model)
    assert type(model["a"]) is type(inner[0]) is Int8Linear and type(inner[1]) is torch.nn.Linear
