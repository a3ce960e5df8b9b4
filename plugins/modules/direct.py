"""Calls of a compiled graph without dynamo, for a function that is called again with arguments of the same kind.

``torch.compile`` checks guards at each call and collects the inputs of the graph, all parameters among them. In a step
of generation with a small model, this takes longer than the graph.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx


class DirectGraph:
    """A function compiled as one graph, which can be called again without guards.

    Args:
        function: from constants and tensors that vary, ``function(constants, *varying)``, to a sequence of tensors.
        options: of inductor.
        dynamic: index of a varying tensor, and its dimension whose size differs from call to call. No other size of
            the varying or constant tensors may equal it if it is marked as dynamic too.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], options: dict[str, Any], dynamic: tuple[int, int]
    ) -> None:
        self.function, self.options, self.dynamic = function, options, dynamic
        # Of the last guarded call: the graph, its inputs, which varying tensor each is, which are the dynamic size, its
        # outputs, and which of outputs and inputs each result is.
        self._graph: Callable[..., Sequence[Any]]
        self._inputs: list[Any] = []
        self._outputs: Sequence[Any] = ()
        self._varying: list[tuple[int, int]] = []
        self._sizes: list[int] = []
        self._results: list[int] = []

    @functools.cached_property
    def _guarded(self) -> Callable[..., Sequence[Tensor]]:
        """The compiled function, made at the first call, because importing the compiler is slow."""
        return torch.compile(  # type: ignore[call-overload]  # its overloads lack isolate_recompiles
            self.function, backend=self._record, fullgraph=True, dynamic=False, isolate_recompiles=True
        )

    def __call__(self, constants: Any, varying: Sequence[Tensor | None]) -> list[Tensor]:
        """Call the function; it is compiled for arguments of a new kind."""
        results = list(self._guarded(constants, *varying))
        index, dim = self.dynamic
        size = varying[index].size(dim)  # type: ignore[union-attr]
        places = {id(each): place for place, each in enumerate(varying) if each is not None}
        self._varying = [(i, places[id(each)]) for i, each in enumerate(self._inputs) if id(each) in places]
        self._sizes = [i for i, each in enumerate(self._inputs) if isinstance(each, int) and each == size]
        known = [*self._outputs, *self._inputs]  # dynamo returns an unchanged argument itself
        self._results = [next(i for i, tensor in enumerate(known) if tensor is each) for each in results]
        self._outputs = ()
        return results

    def again(self, varying: Sequence[Tensor | None]) -> list[Tensor]:
        """Call the graph of the last :meth:`__call__` with its constants and other varying tensors of the same kind."""
        inputs = self._inputs.copy()
        for i, place in self._varying:
            inputs[i] = varying[place]
        index, dim = self.dynamic
        for i in self._sizes:
            inputs[i] = varying[index].size(dim)  # type: ignore[union-attr]
        known = [*self._graph(*inputs), *inputs]
        return [known[i] for i in self._results]

    def forget(self) -> None:
        """Release the inputs of the last call; :meth:`again` needs another :meth:`__call__` first."""
        self._inputs, self._outputs = [], ()

    def _record(self, graph: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Sequence[Any]]:
        """Compile a graph; the result records its calls."""
        compiled = compile_graph(graph, inputs, self.options)

        def call(*inputs: Any) -> Sequence[Any]:
            self._graph, self._inputs = compiled, list(inputs)
            self._outputs = compiled(*inputs)
            return self._outputs

        return call


def compile_graph(graph: fx.GraphModule, inputs: Sequence[Any], options: dict[str, Any]) -> Callable[..., Any]:
    """Compile a graph with inductor."""
    from torch._inductor.compile_fx import compile_fx  # seconds, which only those who compile wait for

    compiled: Any = compile_fx(graph, list(inputs), config_patches=options)
    return compiled
