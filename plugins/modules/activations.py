"""Activation functions by name, each one kernel. fairseq's GELU takes several passes, and is computed in float32."""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

gelu_tanh = functools.partial(F.gelu, approximate="tanh")


def linear(x: Tensor) -> Tensor:
    """Return the input."""
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "gelu_accurate": gelu_tanh,  # fairseq's names of the same approximation
    "gelu_fast": gelu_tanh,
    "relu": F.relu,
    "tanh": torch.tanh,
    "linear": linear,
}
