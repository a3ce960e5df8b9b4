"""Positions of one forward pass, shared by all attention layers.

Shapes: B sequences, T new tokens, Q queries, S keys, H heads, D channels per head.
"""

import copy

import torch
from torch import Tensor

from .compiling import vary
from .position_scheme import Positions, Where, shifted

MOST_SCORES = {  # numbers in a block of attention scores or of their bias
    "cpu": 1 << 24,  # 64 MB in float32, about what its caches hold
    "cuda": 1 << 28,  # 512 MB in half precision
}


def most_scores(device: torch.device) -> int:
    """Return how many attention scores, or numbers of a bias, are computed at once."""
    return MOST_SCORES.get(device.type, MOST_SCORES["cpu"])


def query_type(x: Tensor) -> torch.dtype:
    """Return the type of the queries, projected from the input ``x`` of a layer: autocast's if it is on, else its own.

    ``torch.autocast`` leaves float64 as it is.
    """
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(x.device.type):
        return x.dtype
    return torch.get_autocast_dtype(x.device.type)


class Placement:
    """Positions of the queries and keys of one forward pass. All layers of a model share it.

    Args:
        scheme: the positional scheme.
        tokens: the positions of the T tokens that are new in this pass.
        keys: S, tokens in a cache and new ones.
        device: device of the tokens.
        explicit: give causal attention a mask in every case (see :meth:`Positions.bias`).
        first: the position of the first key.
        window: how many keys a query attends to at most, itself included; None for all.
        queries: the positions of the queries; None for those of all new tokens.
        dtype: data type of the queries, and so of the bias; see :func:`query_type`.
        compiled: the layers are compiled; the bias is then always computed in advance.
        flex: let :mod:`.flex` compute the bias in its kernel, if the scheme has such a bias.

    Attributes:
        whole: the bias of all queries is made once, for all layers.
    """

    def __init__(
        self,
        scheme: Positions,
        tokens: Where,
        keys: int,
        device: torch.device,
        explicit: bool = False,
        *,
        first: int = 0,
        window: int | None = None,
        queries: Where | None = None,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        flex: bool = False,
    ):
        self.scheme, self.tokens, self.keys, self.device, self.explicit = scheme, tokens, keys, device, explicit
        self.dtype, self.compiled = dtype, compiled
        self.first, self.window = first, window
        self.queries = tokens if queries is None else queries
        self.key_angles = scheme.angles(tokens, first + keys, device)
        self.query_angles = self.key_angles if queries is None else scheme.angles(queries, first + keys, device)
        self.channels = self._new_channels()
        self.kernel_bias = scheme.kernel_bias(keys, device) if flex else None
        # One bias for all layers, except a trained one, of which each layer needs its own gradient, and a long one.
        trained = not scheme.embeds and any(parameter.requires_grad for parameter in scheme.parameters())
        count = self.queries.stop - self.queries.start if isinstance(self.queries, slice) else self.queries.numel()
        self.whole = compiled or (not trained and self.bias_heads * count * keys <= most_scores(device))
        needed = self.channels is None and self.kernel_bias is None
        self._bias = self._new_bias() if self.whole and needed else None
        if compiled:
            self._prepare()

    @property
    def causal(self) -> bool:
        """Whether later keys are excluded."""
        return self.scheme.causal

    @property
    def bias_heads(self) -> int:
        """Number of heads of :meth:`bias`: H, 1 for only a mask, or 0 if it is None."""
        if self.channels is not None or self.kernel_bias is not None:
            return 0
        return self.scheme.bias_heads(self.queries, self.keys, self.explicit, self.window)

    def asked(self, queries: Tensor) -> "Placement":
        """Return the same keys with other queries, at positions (B, Q)."""
        return Placement(
            self.scheme, self.tokens, self.keys, self.device, self.explicit,
            first=self.first, window=self.window, queries=queries, dtype=self.dtype,
            compiled=self.compiled,
        )  # fmt: skip

    def part(self, start: int, stop: int) -> tuple["Placement", slice]:
        """Return only the queries from ``start`` to ``stop``, already rotated, and the keys that they need."""
        part = copy.copy(self)
        part.explicit, part.whole, part._bias, part.channels = True, False, None, None
        if not isinstance(self.queries, slice):
            part.queries = self.queries[:, start:stop]
            return part, slice(0, self.keys)
        part.queries = slice(self.queries.start + start, self.queries.start + stop)
        high = part.queries.stop - self.first if self.causal else self.keys
        low = 0 if self.window is None else max(0, part.queries.start - self.window + 1 - self.first)
        part.first, part.keys = self.first + low, high - low
        return part, slice(low, high)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries (B, H, Q, D) and new keys (B, H, T, D)."""
        return self.scheme.rotate(q, self.query_angles), self.scheme.rotate(k, self.key_angles)

    def bias(self, explicit: bool = False) -> Tensor | None:
        """Return the bias of the queries, (1 or B, 1 or H, Q, S), or None; see :meth:`Positions.bias`."""
        return self._bias if self.whole and not explicit else self._new_bias(explicit)

    def _new_channels(self) -> tuple[Tensor, ...] | None:
        """Return channels that replace the bias if only the causal mask is needed; see :meth:`bias`."""
        every = isinstance(self.queries, slice) and shifted(self.queries, -self.first) == slice(0, self.keys)
        if self.explicit or not every or self.keys < 2 or (self.window is not None and self.keys > self.window):
            return None
        return self.scheme.channels(self.keys, self.device, self.dtype)

    def _new_bias(self, explicit: bool = False) -> Tensor | None:
        queries = shifted(self.queries, -self.first)
        return self.scheme.bias(queries, self.keys, self.device, explicit or self.explicit, self.window, self.dtype)

    def _prepare(self) -> None:
        """Mark the dimensions that vary, and copy views of cached tensors, whose strides would enter the graph."""
        self._bias, self.key_angles, self.query_angles = (
            None if tensor is None else tensor.clone(memory_format=torch.contiguous_format)
            for tensor in (self._bias, self.key_angles, self.query_angles)
        )
        vary(self._bias, 0, 2, 3)
        if self.channels is not None:
            self.channels = tuple(tensor.clone() for tensor in self.channels)
            vary(self.channels[1], 0)
        for angles in (self.key_angles, self.query_angles):
            vary(angles, *((1,) if angles is None or angles.ndim == 3 else (1, 3)))
