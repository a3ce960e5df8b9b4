"""Compiled layers: when they are used, and which sizes vary."""

import pytest
import torch

from plugins.modules import compiling
from plugins.modules.compiling import Compilable


class Twice(Compilable):
    """A module whose layers double their input."""

    def stack(self, x):
        return 2 * x


def test_layers_are_compiled_with_the_first_step_of_training_and_stay_so():
    module = Twice().eval()
    assert module.compiled() is None and module.train().compiled() is None
    module = Twice().eval()
    module.compile_layers("eager")
    assert module.compiled() is None  # loaded for inference
    assert module.train().compiled() is module.compiled_stack is not None
    assert module.eval().compiled() is module.compiled_stack
    assert module.compiled()(module, torch.ones(2)).tolist() == [2, 2]


def test_the_backend_is_torchs_default_or_the_one_that_was_named(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function, backend: seen.append((function, backend)))
    module = Twice()
    module.compile_layers()
    module.compile_layers("eager")
    assert seen == [(Twice.stack, "inductor"), (Twice.stack, "eager")]
    with pytest.raises(NotImplementedError):
        Compilable().stack()


def test_sizes_of_one_do_not_vary(monkeypatch):
    marked = []
    monkeypatch.setattr(torch._dynamo, "maybe_mark_dynamic", lambda x, dim: marked.append(dim))
    monkeypatch.setattr(torch._dynamo, "mark_static", lambda x, dims: marked.append(dims))
    compiling.vary(torch.ones(1, 2, 3), 0, 1, 2)
    compiling.fix(torch.ones(1, 2), 0, 1)
    compiling.vary(None, 0)
    compiling.fix(None, 0)
    assert marked == [1, 2, [0, 1]]
