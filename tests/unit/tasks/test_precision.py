"""Mixed precision of every task: what runs in bfloat16, and what stays in float32."""

import pytest
import torch
from task_steps import CASES
from torch.utils._python_dispatch import TorchDispatchMode


class Products(TorchDispatchMode):
    """Records the types of matrix products."""

    def __init__(self):
        super().__init__()
        self.types = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default):
            self.types.append(result.dtype)
        return result


@pytest.mark.parametrize("case", CASES)
def test_products_are_bfloat16_and_losses_and_gradients_float32(step, case):
    exact = step(case)
    with Products() as products:
        mixed = step(case, "--mixed-precision", "bf16")
    assert products.types.count(torch.bfloat16) > len(products.types) / 2
    assert mixed.loss.dtype == mixed.valid.dtype == torch.float32
    torch.testing.assert_close(mixed.loss, exact.loss, rtol=0.02, atol=0.02)
    torch.testing.assert_close(mixed.valid, exact.valid, rtol=0.02, atol=0.02)
    assert mixed.gradients.keys() == exact.gradients.keys()
    assert all(grad.dtype == torch.float32 for grad in mixed.gradients.values())
    a, b = (torch.cat([grad.flatten() for grad in run.gradients.values()]) for run in (exact, mixed))
    assert torch.cosine_similarity(a, b, dim=0) > 0.99
    assert not torch.equal(a, b)


@pytest.mark.parametrize("case, more", [("mlm", ()), ("mlm", ["--offload-activations"]), ("causal_lm", ())])
def test_recomputed_activations_have_the_types_of_the_forward_pass(step, case, more):
    found = []
    for options in ((), ("--checkpoint-activations", *more)):
        with Products() as products:
            step(case, "--mixed-precision", "bf16", *options)
        found.append(products.types)
    plain, recomputed = found
    assert recomputed.count(torch.bfloat16) > plain.count(torch.bfloat16)
    assert recomputed.count(torch.float32) == plain.count(torch.float32)
