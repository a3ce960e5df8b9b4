"""A training forward pass reads nothing back from the device, so that a GPU never waits for the program.

Operations that would wait are found on a CPU, where they are called as well.
"""

import sys

import pytest
import torch
import toy
from fairseq.criterions import FairseqCriterion
from task_steps import CASES
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

OURS = str(toy.ROOT / "plugins") + "/"
aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default,  # .item(), int(), bool(), `if tensor`
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,  # looks for the largest value
    aten._unique2.default,
    aten.equal.default,
}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
WRITES = {aten.copy_.default}  # with a tensor without dimensions: `x[i] = 1` copies a number to the device, and waits
CPU_ONLY = {"linear_cross_entropy"}  # functions that check their input on a CPU, and only there


class Waits(TorchDispatchMode):
    """Collects where the package waits for a device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        by_mask = function in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        number = function in WRITES and args[0].ndim == args[1].ndim == 0
        if by_mask or number or function in WAITS:
            frame = sys._getframe(1)
            while not frame.f_code.co_filename.startswith(OURS):
                frame = frame.f_back
            if frame.f_code.co_name not in CPU_ONLY:
                self.found.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {function}")
        return function(*args, **(kwargs or {}))


@pytest.fixture
def waits():
    """Collects waits in the forward passes of training."""
    mode = Waits()

    def is_training(module):
        return isinstance(module, FairseqCriterion) and module.training

    handles = [
        hooks.register_module_forward_pre_hook(lambda m, args: mode.__enter__() and None if is_training(m) else None),
        hooks.register_module_forward_hook(
            lambda m, args, out: mode.__exit__(None, None, None) if is_training(m) else None
        ),
    ]
    yield mode
    for handle in handles:
        handle.remove()


FORMS = [(case, ()) for case in CASES if not case.startswith(("embedding", "preference"))]
FORMS += [
    ("mlm", ("--positions", "alibi", "--alibi-bos", "learned", "--head", "roberta")),
    ("mlm", ("--positions", "rotary", "--dropout", "0.1", "--attention-dropout", "0.1")),
    ("glue", ("--positions", "alibi", "--pooler-type", "mean", "--dropout", "0.1")),
    ("causal_lm", ("--positions", "alibi", "--dropout", "0.1")),
    ("char_lm", ("--positions", "rotary", "--dropout", "0.1")),
    ("style", ("--style-inference", "prefix", "--style-prefix", "4")),
    ("style", ("--style-inference", "published")),
    ("style", ("--unsupervised-styles",)),
]


@pytest.mark.parametrize("mixed", [(), ("--mixed-precision", "bf16")])
@pytest.mark.parametrize("case, more", FORMS)
def test_a_training_forward_pass_does_not_synchronize(step, waits, case, more, mixed):
    assert torch.isfinite(step(case, *more, *mixed).loss)
    assert waits.found == []


def test_a_model_that_draws_its_masks_has_to_count_them(step, waits):
    step("mlm", "--mask-prob", "0", "--self-mask-prob", "0.15")
    assert any("nonzero" in wait for wait in waits.found)
