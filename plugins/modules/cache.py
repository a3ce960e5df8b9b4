"""The key-value cache of a decoder: it grows as it is filled, and its rows may hold texts of different lengths.

Shapes: B sequences, T new tokens, S tokens held by the longest row with them, H heads of D channels.
"""

import torch
from torch import Tensor

SPARE = 64  # tokens of room when a cache grows, so that it does not with every token


class Cache:
    """Keys and values of the tokens seen so far, one pair of tensors a layer.

    A row that is shorter than the longest (see :meth:`set_lengths`) goes on where it ends: the next token overwrites
    what stands there, so a row never has a gap, and its positions count from its own start.

    Args:
        layers: how many.
        shape: (B, H, capacity, D) of each.
        like: a tensor of the wanted type and device.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor):
        batch, heads, self.capacity, width = shape
        self.keys = [like.new_empty(batch, heads, 0, width) for _ in range(layers)]
        self.values = [like.new_empty(batch, heads, 0, width) for _ in range(layers)]
        self.reset()

    def reset(self) -> None:
        self.length = 0  # tokens in the longest row; the decoder moves it when all layers have appended
        self.prompted = 0  # how many of them are no tokens but vectors of a prompt, which begins every row
        self.lengths = None  # (B,) tokens in each row, or None where all have as many
        self.style = {}  # what an adapter remembers of them

    def set_lengths(self, lengths: Tensor) -> None:
        """Say how many tokens (B,) of each row count: those after them, padding, are as if never seen."""
        shortest, self.length = (int(length) for length in lengths.aminmax())
        self.lengths = None if shortest == self.length else lengths

    def advance(self, count: int) -> None:
        """Count ``count`` more tokens in each row, which all layers have appended."""
        self.length += count
        if self.lengths is not None:
            self.lengths = self.lengths + count

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B, H, T, D) of new tokens and return those of all tokens, (B, H, S, D)."""
        end = self.length + k.size(2)
        for tensors, new in ((self.keys, k), (self.values, v)):
            held = tensors[layer] = self._with_room(tensors[layer], end)
            if self.lengths is None:
                held.narrow(2, self.length, k.size(2)).copy_(new)
            else:
                places = self.places(k.size(2))[:, None, :, None]  # (B, 1, T, 1)
                held.scatter_(2, places.expand_as(new), new.to(held.dtype))
        return self.keys[layer].narrow(2, 0, end), self.values[layer].narrow(2, 0, end)

    def places(self, count: int) -> Tensor:
        """Return where the next ``count`` tokens of each row go, (B, T); rows must have different lengths."""
        return self.lengths[:, None] + torch.arange(count, device=self.lengths.device)

    def take(self, rows: Tensor) -> None:
        """Hold these rows from now on: some of them, in another order, or one of them several times."""
        for tensors in (self.keys, self.values):
            tensors[:] = [tensor.narrow(2, 0, self.length)[rows] for tensor in tensors]
        if self.lengths is not None:
            self.set_lengths(self.lengths[rows])

    def _with_room(self, tensor: Tensor, end: int) -> Tensor:
        """Return a tensor (B, H, at least ``end``, D) that begins with what is held of this one."""
        if end <= tensor.size(2):
            return tensor
        batch, heads, _, width = tensor.shape
        # Zeros, since what stands after a short row is multiplied by a weight of 0, which would let NaN through.
        roomy = tensor.new_zeros(batch, heads, max(end, min(self.capacity, end + max(SPARE, end // 4))), width)
        roomy[:, :, : self.length] = tensor[:, :, : self.length]
        return roomy
