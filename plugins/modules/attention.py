"""Layers of multi-head self-attention, with positions and padding.

Shapes: B sequences, T tokens, Q queries, S keys, C channels, H heads of D = C / H channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .compiling import vary
from .flex import attend as attend_by_flex
from .linear import Linear
from .placement import Placement, most_scores
from .scaled_dot_product import HALF, attend, attend_from_one, attend_placed, attention_weights, writes_scores

__all__ = [
    "SelectedTokens",
    "Attention",
    "SelfAttention",
    "take_rows",
    "group_by_sequence",
    "attend",
    "attention_weights",
]


@dataclass
class SelectedTokens:
    """Some of the B * T tokens of a batch, in the form in which attention computes only their output.

    Attributes:
        index: (N,) ascending indices into the B * T tokens.
        positions: (B, Q) positions of the tokens of each sequence; sequences with fewer than Q are filled up with 0.
        taken: (N,) indices of the tokens in those B * Q.
        placement: placement of the queries at these positions.
    """

    index: Tensor
    positions: Tensor
    taken: Tensor
    placement: Placement

    @classmethod
    def of(cls, index: Tensor, most: int | None, sequences: int, placement: Placement) -> "SelectedTokens":
        """Return the rows (N,) of B sequences.

        Args:
            index: see the attribute.
            most: Q, the largest number of them in a sequence; None to find it.
            sequences: B.
            placement: placement of all T tokens.
        """
        positions, taken = group_by_sequence(index, sequences, placement.keys, most)
        if placement.compiled:
            for tensor in (index, positions, taken):
                vary(tensor, *range(tensor.ndim))
        return cls(index, positions, taken, placement.asked(positions))


class Attention(nn.Module):
    """Base of the attention layers: the product of queries, keys and values, and a record of its weights.

    Args:
        width: C.
        heads: H, a divisor of C.
        dropout: probability of dropping an attention weight.

    Attributes:
        record: if set, called in each forward pass with the layer and its attention weights (B, H, T, S): of all T new
            tokens, before dropout, in float32 at least, detached.

    Raises:
        ValueError: H does not divide C.
    """

    record: Callable[[nn.Module, Tensor], None] | None = None

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.num_heads, self.dropout = heads, dropout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, placement: Placement, padding: Tensor | None = None) -> Tensor:
        """Return the weighted values of rotated queries and keys.

        Long inputs are computed in blocks of queries, so that neither the scores nor the bias of all queries exist at
        once. In training, the scores of a block are computed again in the backward pass.

        Args:
            q: (B, H, Q, D).
            k, v: (B, H, S, D).
            placement: positions of the queries and keys.
            padding: (B, S), True at padding, or None.

        Returns:
            (B, H, Q, D).
        """
        p = self.dropout if self.training else 0.0
        if placement.kernel_bias is not None:
            return attend_by_flex(q, k, v, placement.kernel_bias, padding)
        if q.size(2) == 1 and padding is None and not self.training and torch.compiler.is_compiling():
            return attend_from_one(q, k, v, placement.bias())
        if torch.compiler.is_compiling():  # the sizes are not known yet
            return attend_placed(q, k, v, placement, padding, p, self.training)
        size = self.queries_at_once(q, placement, p)
        if size >= q.size(2):
            return attend_placed(q, k, v, placement, padding, p, self.training)
        blocks = []
        for start in range(0, q.size(2), size):
            part, keys = placement.part(start, min(start + size, q.size(2)))
            given = (q[:, :, start : start + size], k[:, :, keys], v[:, :, keys], part, padding, p, self.training)
            if torch.is_grad_enabled():
                blocks.append(checkpoint(attend_placed, *given, use_reentrant=False))
            else:
                blocks.append(attend_placed(*given))
        return torch.cat(blocks, dim=2)

    def queries_at_once(self, q: Tensor, placement: Placement, p: float) -> int:
        """Return how many queries of (B, H, Q, D) are computed at once, with attention dropout ``p``."""
        if writes_scores(q.device, q.dtype, placement.keys, p, self.training):
            numbers = q.size(0) * q.size(1) * placement.keys
        else:
            sequences = 1 if isinstance(placement.queries, slice) else q.size(0)
            numbers = sequences * placement.bias_heads * placement.keys
        size = max(1, most_scores(q.device) // max(1, numbers))
        return size if placement.window is None else min(size, placement.window)  # skips most keys outside the window

    @torch.no_grad()
    def record_weights(self, q: Tensor, k: Tensor, placement: Placement, padding: Tensor | None = None) -> None:
        """Pass the attention weights of rotated queries (B, H, T, D) and keys (B, H, S, D) to :attr:`record`."""
        bias = placement.bias(explicit=q.size(2) > 1)
        assert self.record is not None, "called only if it is set"
        self.record(self, attention_weights(q, k, bias, padding))

    def split_heads(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, H, T, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class SelfAttention(Attention):
    """Bidirectional self-attention with separate, callable projections (named as in fairseq)."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__(embed_dim, num_heads, dropout)
        self.k_proj = Linear(embed_dim, embed_dim)
        self.v_proj = Linear(embed_dim, embed_dim)
        self.q_proj = Linear(embed_dim, embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim)

    def forward(
        self, x: Tensor, placement: Placement, padding: Tensor | None = None, rows: SelectedTokens | None = None
    ) -> Tensor:
        """Attend within each sequence.

        Args:
            x: (B, T, C).
            placement: the positions of the T tokens.
            padding: (B, T) boolean, True at the keys that are excluded.
            rows: the N tokens whose output is computed; None for all.

        Returns:
            (B, T, C), or (N, C).
        """
        asked, taken = placement, None
        if rows is None:
            q, k, v = map(self.split_heads, project(x, (self.q_proj, self.k_proj, self.v_proj)))
        else:
            asking = x.gather(1, rows.positions[..., None].expand(-1, -1, x.size(2)))  # (B, Q, C)
            asked, taken = rows.placement, rows.taken
            q, k, v = map(self.split_heads, (self.q_proj(asking), *project(x, (self.k_proj, self.v_proj))))
        q, k = asked.rotate(q, k)
        if self.record is not None:
            every = q if rows is None else placement.rotate(self.split_heads(self.q_proj(x)), k)[0]  # (B, H, T, D)
            self.record_weights(every, k, placement, padding)
        out = self.attend(q, k, v, asked, padding)  # (B, H, Q, D)
        return self.out_proj(take_rows(out.transpose(1, 2).flatten(2), taken))  # (B, Q, H, D) -> (B, T, C) or (N, C)


def project(x: Tensor, layers: Sequence[nn.Module]) -> Sequence[Tensor]:
    """Return the outputs (..., C) of linear layers of the same input (..., C).

    In training in half precision on a CPU they are one product, and so are their gradients, without sums of gradients
    of the input. In float32, where products take most of the time, that is no faster.
    """
    half = x.requires_grad and x.device.type == "cpu" and x.dtype in HALF
    if not half or torch.compiler.is_compiling() or not all(map(is_plain, layers)):
        return [layer(x) for layer in layers]
    weight, bias = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
    return F.linear(x, weight, bias).chunk(len(layers), dim=-1)


def is_plain(layer: nn.Module) -> bool:
    """Return whether a layer is a linear layer with a bias and without hooks, not one that an adapter wraps."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    return type(layer) is Linear and layer.bias is not None and not hooks


def take_rows(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return the rows (N,) of (B, T, C) as (N, C); ``rows`` None returns ``x`` unchanged."""
    return x if rows is None else x.flatten(0, 1).index_select(0, rows)


def group_by_sequence(rows: Tensor, sequences: int, length: int, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Group ascending row indices (N,) into B sequences of T positions by sequence.

    Args:
        most: Q, or a larger number; None to find Q.

    Returns:
        The positions within each sequence, (B, Q), where Q is the largest number of rows in a sequence and missing
        entries are 0; and the index of each row in those B * Q entries, (N,).
    """
    sequence = rows // length
    count = rows.new_zeros(sequences).scatter_add_(0, sequence, torch.ones_like(rows))  # (B,); bincount waits for a GPU
    most = int(count.max()) if most is None else most
    rank = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[sequence]
    taken = sequence * most + rank
    return rows.new_zeros(sequences * most).index_copy_(0, taken, rows % length).view(sequences, most), taken
