"""Compilation of all layers of a model as one graph, for inputs of any size.

A run has two graphs, one for training and one without gradients: dimensions that vary from batch to batch
(sequences, tokens, predictions) are marked as dynamic in the first, and all values that come from Python are computed
before the graph begins.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Compilable(nn.Module):
    """Base of modules whose layers can be compiled.

    Compilation starts with the first training step, so a trained model that is loaded for inference is not compiled.

    Attributes:
        compiled_stack: the compiled function, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.compiled_stack: Callable[..., Any] | None = None
        self._trained = False

    def compile_layers(self, backend: str | Callable = "inductor") -> None:
        """Compile the layers when they run for the first time; ``backend`` is that of ``torch.compile``."""
        # Not a bound method: a copy of this module would run the weights of the original.
        self.compiled_stack = torch.compile(type(self).stack, backend=backend)

    def stack(self, *inputs: Any) -> Any:
        """Apply the layers."""
        raise NotImplementedError

    def compiled(self) -> Callable[..., Any] | None:
        """Return the compiled function of this module and the arguments of :meth:`stack`, or None to call that."""
        self._trained = self._trained or self.training
        return self.compiled_stack if self._trained else None


def vary(x: Tensor | None, *dims: int) -> None:
    """Mark dimensions of a tensor as different from call to call, except where their size is 1."""
    if x is None:
        return
    for dim in dims:
        if x.size(dim) > 1:
            torch._dynamo.maybe_mark_dynamic(x, dim)


def fix(x: Tensor | None, *dims: int) -> None:
    """Mark dimensions of a tensor as constants of the graph."""
    if x is not None:
        torch._dynamo.mark_static(x, list(dims))
