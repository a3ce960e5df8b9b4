"""Calls of a graph without guards, against the function."""

import subprocess
import sys
import weakref

import pytest
import torch

from plugins.modules import direct
from plugins.modules.direct import DirectGraph


@pytest.fixture
def graph(monkeypatch):
    monkeypatch.setattr(direct, "compile_graph", lambda graph, inputs, options: graph.forward)
    return DirectGraph(masked_product, {}, dynamic=(1, 0))


def masked_product(constants, x, mask, extra):
    """The last argument may be None; the constants have a table of which a part is used, and a tensor written to."""
    table, seen = constants
    seen.add_(1)
    y = x @ table[:, : mask.size(0)] + mask  # (S,)
    return [y.sum() + mask.size(0), y * 2 if extra is None else y * extra, mask]


def arguments(size, extra=True):
    mask = torch.rand(size)
    torch._dynamo.mark_dynamic(mask, 0)
    return [torch.rand(3), mask, torch.rand(1) if extra else None]


@pytest.mark.parametrize("extra", [True, False])
def test_a_call_without_guards_gives_the_functions_results_at_any_size(graph, extra):
    constants, expected = (torch.rand(3, 9), torch.zeros(2)), torch.zeros(2)
    graph(constants, arguments(4, extra))
    for size in (4, 5, 8):
        given = arguments(size, extra)
        found = graph.again(given)
        torch.testing.assert_close(found, masked_product((constants[0], expected), *given))
    assert constants[1].tolist() == [4, 4], "tensors are changed in place"


def test_inputs_are_released_on_request(graph):
    constants = (torch.rand(3, 9), torch.zeros(2))
    kept = weakref.ref(constants[1])
    graph(constants, arguments(4))
    del constants
    assert kept() is not None
    graph.forget()
    assert kept() is None


def test_constants_are_those_of_the_last_call_with_guards(graph):
    for _ in range(2):
        constants = (torch.rand(3, 9), torch.zeros(2))
        graph(constants, arguments(4))
        given = arguments(6)
        torch.testing.assert_close(graph.again(given), masked_product(constants, *given))


MAKE = """
import sys
from plugins.modules.direct import DirectGraph
DirectGraph(print, {}, (0, 0))
print("torch._dynamo" in sys.modules)
"""


def test_the_compiler_is_not_loaded_before_the_first_call():
    done = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
