"""Models that run eagerly although parts of them are compiled."""

import contextlib

import pytest
import torch

from plugins.compat import uncompiled


@pytest.mark.parametrize("attribute", ["_compiled_call_impl", "compiled_stack"])
def test_a_compiled_part_makes_the_context_eager(monkeypatch, attribute):
    monkeypatch.setattr(torch.compiler, "set_stance", lambda stance: stance)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    setattr(model[0], attribute, lambda x: x)
    assert uncompiled(model) == "force_eager"


def test_nothing_is_changed_for_a_model_without_compiled_parts():
    model = torch.nn.Linear(2, 2)
    model.compiled_stack = None
    assert isinstance(uncompiled(model), contextlib.nullcontext)
