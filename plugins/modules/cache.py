"""The key-value cache of a decoder. It grows as it is filled, and its rows may have different lengths.

Shapes: B sequences, T new tokens, S tokens of the longest row including the new ones, H heads of D channels.
"""

from typing import Any

import torch
from torch import Tensor

SPARE = 64  # tokens added at least when a cache grows, so that it does not grow with every token


class Cache:
    """Keys and values of the tokens so far, one pair of tensors per layer.

    A row shorter than the longest (see :meth:`set_lengths`) continues at its own end: the next token overwrites the
    padding there. Rows have no gaps, and the positions of a row count from its own start.

    Args:
        layers: number of layers.
        shape: (B, H, capacity, D) of each tensor. A cache may outgrow its capacity.
        like: a tensor of the type and device to use.
        window: if set, tokens are dropped as soon as they precede the next one by this many positions or more. Rows
            then have one length.

    Attributes:
        length: tokens in the longest row, dropped ones included.
        first: how many tokens were dropped, which is the position of the first stored one.
        prompted: how many of them are vectors of a prompt, at the start of every row.
        lengths: (B,) tokens in each row, or None if all rows are equally long.
        style: the state of a style adapter; its ``table`` does not depend on the tokens.
        spare: tokens added at least when it grows.
        race: draws from the logits of the steps, :class:`.sampling.Race`; compiled steps compute its result.
        rows: if not 0, :meth:`take` repeats a row until there are this many, so that shapes stay as they are.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor, window: int | None = None):
        batch, heads, self.capacity, width = shape
        self.window, self.rows, self.spare = window, 0, SPARE
        self.keys = [like.new_empty(batch, heads, 0, width) for _ in range(layers)]
        self.values = [like.new_empty(batch, heads, 0, width) for _ in range(layers)]
        self.race: Any = None
        self.style: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Remove all tokens; the memory is kept, and the table of a style adapter, whose weights must be the same."""
        self.length = 0  # increased by the decoder, after all layers have appended
        self.first = self.start = 0  # position and tensor index of the first stored token
        self.prompted = 0
        self.lengths: Tensor | None = None
        self.style = {name: value for name, value in self.style.items() if name == "table"}

    def set_lengths(self, lengths: Tensor) -> None:
        """Set the number of tokens (B,) in each row. Later ones, padding, are ignored and overwritten.

        Raises:
            ValueError: different lengths in a cache with a window.
        """
        shortest, longest = (int(length) for length in lengths.aminmax())
        if self.window is not None and (shortest != longest or longest != self.length):
            raise ValueError("rows of a cache with a window have one length")
        self.length = longest
        self.lengths = None if shortest == self.length else lengths

    def advance(self, count: int) -> None:
        """Add ``count`` to the length of each row, after all layers have appended that many tokens."""
        self.length += count
        if self.lengths is not None:
            self.lengths = self.lengths + count
        if self.window is not None:
            self._drop(self.length - self.first - (self.window - 1))  # the next token is in its own window

    def _drop(self, count: int) -> None:
        """Drop the oldest tokens."""
        if count <= 0:
            return
        self.first, self.start = self.first + count, self.start + count
        if self.start >= max(SPARE, self.window or 0):  # only occasionally, because moving the others takes time
            for tensors in (self.keys, self.values):
                tensors[:] = [tensor[:, :, self.start :].contiguous() for tensor in tensors]
            self.start = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values (B, H, T, D) of new tokens and return those of all stored tokens, (B, H, S, D)."""
        before = self.start + self.length - self.first
        end = before + k.size(2)
        for tensors, new in ((self.keys, k), (self.values, v)):
            stored = tensors[layer] = self._with_room(tensors[layer], end)
            if self.lengths is None:
                stored.narrow(2, before, k.size(2)).copy_(new)
            else:
                places = self.places(k.size(2))[:, None, :, None]  # (B, 1, T, 1)
                stored.scatter_(2, places.expand_as(new), new.to(stored.dtype))
        return self.keys[layer][:, :, self.start : end], self.values[layer][:, :, self.start : end]

    def reserve(self, count: int) -> None:
        """Make room for ``count`` more tokens in all layers."""
        end = self.start + self.length - self.first + count
        if end > self.keys[0].size(2):
            for tensors in (self.keys, self.values):
                tensors[:] = [self._with_room(tensor, end) for tensor in tensors]

    def places(self, count: int) -> Tensor:
        """Return the positions of the next ``count`` tokens of each row, (B, T). Rows must differ in length."""
        assert self.lengths is not None, "rows of equal length share their positions"
        return self.lengths[:, None] + torch.arange(count, device=self.lengths.device)

    def take(self, rows: Tensor) -> None:
        """Keep these rows (B',), in this order. A row may be left out or repeated."""
        if len(rows) < self.rows:
            rows = torch.cat([rows, rows[:1].expand(self.rows - len(rows))])
        for tensors in (self.keys, self.values):
            tensors[:] = [tensor[rows, :, self.start : self.start + self.length - self.first] for tensor in tensors]
        self.start = 0
        if self.lengths is not None:
            self.set_lengths(self.lengths[rows])

    def _with_room(self, tensor: Tensor, end: int) -> Tensor:
        """Return a tensor (B, H, at least ``end``, D) that begins with the tokens of this one."""
        if end <= tensor.size(2):
            return tensor
        batch, heads, _, width = tensor.shape
        size = end + max(self.spare, end // 4)
        size = min(size, self.capacity) if end <= self.capacity else size
        # Zeros, since values after a short row are multiplied by a weight of 0, and 0 times NaN would be NaN.
        roomy = tensor.new_zeros(batch, heads, size, width)
        kept = self.start + self.length - self.first
        roomy[:, :, :kept] = tensor[:, :, :kept]
        return roomy
