"""Multi-head self-attention on ``F.scaled_dot_product_attention``, with positions and padding.

Shapes: B sequences, T tokens, Q queries, S keys, C channels, H heads of D = C / H channels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .compiling import vary
from .dropout import dropout
from .flex import attend as attend_by_flex
from .norm import at_least_float32
from .placement import Placement, most_scores

PADDING_CHANNELS = 8  # one is used; GPU kernels want the head dimension to be a multiple of eight
MOST_WRITTEN = 256  # keys; up to here the CPU's fused kernel has a slow backward pass in half precision
HALF = (torch.bfloat16, torch.float16)
PADDED_KEY = -3e4  # within half precision, and divided by sqrt(D) still far below any real score


@dataclass
class Rows:
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
    def of(cls, index: Tensor, most: int | None, sequences: int, placement: Placement) -> "Rows":
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
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, x: Tensor, placement: Placement, padding: Tensor | None = None, rows: Rows | None = None
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
        k, v = self.split_heads(self.k_proj(x)), self.split_heads(self.v_proj(x))
        asking, asked, taken = x, placement, None
        if rows is not None:
            asking = x.gather(1, rows.positions[..., None].expand(-1, -1, x.size(2)))  # (B, Q, C)
            asked, taken = rows.placement, rows.taken
        q = self.split_heads(self.q_proj(asking))
        q, k = asked.rotate(q, k)
        if self.record is not None:
            every = q if rows is None else placement.rotate(self.split_heads(self.q_proj(x)), k)[0]  # (B, H, T, D)
            self.record_weights(every, k, placement, padding)
        out = self.attend(q, k, v, asked, padding)  # (B, H, Q, D)
        return self.out_proj(take_rows(out.transpose(1, 2).flatten(2), taken))  # (B, Q, H, D) -> (B, T, C) or (N, C)


def attend_placed(
    q: Tensor, k: Tensor, v: Tensor, placement: Placement, padding: Tensor | None, p: float, training: bool
) -> Tensor:
    """Return the weighted values (B, H, Q, D); arguments as in :meth:`Attention.attend` and :func:`attend`."""
    bias = placement.bias()
    if placement.channels is not None:
        of_queries, of_keys = placement.channels
        return attend_with_channels(q, k, v, of_queries, of_keys, p)
    if bias is None and placement.causal and q.size(2) > 1:  # the kernel skips what its own mask excludes
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
    return attend(q, k, v, bias, padding, p, training)


def attend_from_one(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return :func:`attend` for one query of each head, as sums over products, which inductor fuses with other steps.

    Args:
        q: (B, H, 1, D).
        k, v: (B, H, S, D).
        bias: (1 or B, 1 or H, 1, S), or None.

    Returns:
        (B, H, 1, D).
    """
    dtype = at_least_float32(q.dtype)
    scores = (q.to(dtype) * k.to(dtype)).sum(-1) * q.size(-1) ** -0.5  # (B, H, S)
    if bias is not None:
        scores = scores + bias[:, :, 0]
    return (scores.softmax(-1)[..., None] * v.to(dtype)).sum(2, keepdim=True).to(q.dtype)


def attend_with_channels(q: Tensor, k: Tensor, v: Tensor, of_queries: Tensor, of_keys: Tensor, p: float) -> Tensor:
    """Return causal attention whose bias is the product of further channels.

    Args:
        q, k, v: (B, H, T, D).
        of_queries: (H, E).
        of_keys: (T, E).
        p: dropout probability of the attention weights.

    Returns:
        (B, H, T, D).
    """
    width = q.size(-1)
    q = torch.cat([q, of_queries[:, None].expand(*q.shape[:-1], -1)], dim=-1)  # (B, H, T, D + E)
    k = torch.cat([k, of_keys.expand(*k.shape[:-1], -1)], dim=-1)
    v = F.pad(v, (0, of_keys.size(-1)))
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True, scale=width**-0.5)
    return out[..., :width]


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


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    p: float = 0.0,
    training: bool = False,
) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + bias) v without the padded keys.

    Args:
        q: (B, H, Q, D).
        k, v: (B, H, S, D).
        bias: (1 or B, 1 or H, Q, S), or None.
        padding: (B, S), True at padding, or None.
        p: dropout probability of the attention weights.
        training: there will be a backward pass; see :func:`writes_scores`.

    Returns:
        (B, H, Q, D).
    """
    width, scale = q.size(-1), q.size(-1) ** -0.5
    k, v = k.to(q.dtype), v.to(q.dtype)  # under autocast those of a cache may differ
    if bias is not None and bias.dtype in HALF:
        bias = bias.to(q.dtype)
    if padding is not None and bias is None:
        bias = torch.zeros_like(padding, dtype=q.dtype).masked_fill_(padding, PADDED_KEY)[:, None, None]  # (B,1,1,S)
    elif padding is not None:
        q, k, v = hide_padding(q, k, v, padding)
    written = writes_scores(q.device, q.dtype, k.size(2), p, training)
    if bias is None and not written:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p, scale=scale)
    with torch.autocast(q.device.type, enabled=False):  # autocast would round a float32 bias again in each layer
        if written:
            return attend_by_scores(q, k, v, bias, p, scale)[..., :width]
        dtype = q.dtype
        if bias is not None and q.device.type != "cpu":  # the CPU kernel adds a float32 bias to scores of any type
            q, k, v, bias = match_types(q, k, v, bias)
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p=p, scale=scale)[..., :width].to(dtype)


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None, padding: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + bias), in float32 at least: (B, H, Q, S). Arguments as in :func:`attend`."""
    dtype = at_least_float32(q.dtype)
    with torch.autocast(q.device.type, enabled=False):
        scores = (q.to(dtype) * q.size(-1) ** -0.5) @ k.to(dtype).transpose(-1, -2)  # (B, H, Q, S)
    if bias is not None:
        scores += bias
    if padding is not None:
        scores += padding[:, None, None] * PADDED_KEY
    return scores.softmax(-1)


def match_types(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Convert q, k, v and the bias to one type, as GPU kernels require, without losing precision of the bias.

    With bfloat16 and a float32 bias, which ``--alibi-dtype float32`` asks for, that type is float32: bfloat16 cannot
    represent half a position beyond a distance of 128.
    """
    dtype = torch.float32 if q.dtype == torch.bfloat16 and bias.dtype == torch.float32 else q.dtype
    return q.to(dtype), k.to(dtype), v.to(dtype), bias.to(dtype)


def hide_padding(q: Tensor, k: Tensor, v: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add a channel that lowers the scores of padded keys: 1 in each query, a large negative number in each such key.

    The bias then stays one (1, H, T, T) tensor for the batch; adding a padding mask to it would copy it for every
    sequence.

    Args:
        q, k, v: (B, H, Q, D), (B, H, S, D), (B, H, S, D).
        padding: (B, S), True at padding.

    Returns:
        q, k and v with D + 8 channels.
    """
    ones = q.new_zeros(PADDING_CHANNELS)
    ones[0] = 1
    hidden = q.new_zeros(*padding.shape, PADDING_CHANNELS)  # (B, S, 8)
    hidden[..., 0] = padding * PADDED_KEY
    q = torch.cat([q, ones.expand(*q.shape[:-1], -1)], dim=-1)  # (B, H, Q, D + 8)
    k = torch.cat([k, hidden[:, None].expand(*k.shape[:-1], -1)], dim=-1)
    return q, k, F.pad(v, (0, PADDING_CHANNELS))


def writes_scores(device: torch.device, dtype: torch.dtype, keys: int, p: float, training: bool) -> bool:
    """Return whether attention is computed without a fused kernel, so that all scores are in memory.

    The CPU's fused kernel has no dropout, and its fallback draws random numbers slowly. In half precision its backward
    pass takes several times as long as three matrix products if there are few keys.

    Args:
        device, dtype: device and data type of the queries.
        keys: S.
        p: dropout probability of the attention weights.
        training: there will be a backward pass. Gradients may still be disabled, by activation checkpointing, which
            must compute the same twice.
    """
    if device.type != "cpu":
        return False
    if p > 0 or torch.compiler.is_compiling():
        return p > 0
    return training and dtype in HALF and keys <= MOST_WRITTEN


def attend_by_scores(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float, scale: float) -> Tensor:
    """Attention without a fused kernel; arguments as in :func:`attend`. See :func:`writes_scores`."""
    if bias is not None and q.dtype in HALF and bias.dtype == q.dtype:
        # The product is added to a copy of the bias, so that their sum is rounded once.
        scores = bias.expand(*q.shape[:3], k.size(2)).clone(memory_format=torch.contiguous_format).flatten(0, 1)
        scores = scores.baddbmm_(q.flatten(0, 1), k.flatten(0, 1).transpose(-1, -2), alpha=scale)  # (B * H, Q, S)
        scores = scores.unflatten(0, q.shape[:2])
    else:
        scores = (q * scale) @ k.transpose(-1, -2)  # (B, H, Q, S)
        if bias is not None:
            scores = scores.to(bias.dtype).add_(bias)
    return dropout(scores.softmax(-1).to(v.dtype), p, training=True) @ v
