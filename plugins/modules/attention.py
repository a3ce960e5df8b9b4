"""Multi-head self-attention on ``F.scaled_dot_product_attention``, with an additive bias and padding.

Shapes: B sequences, T tokens, C channels, H heads of D = C / H channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import dropout

PADDING_CHANNELS = 8  # one is used; GPU kernels want the head dimension to be a multiple of eight
PADDED_KEY = -3e4  # within half precision, and divided by sqrt(D) still far below any real score


class SelfAttention(nn.Module):
    """Bidirectional self-attention with separate, callable projections (named as in fairseq).

    Args:
        embed_dim: C.
        num_heads: H, a divisor of C.
        dropout: probability of dropping an attention weight.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide a width of {embed_dim}")
        self.num_heads, self.dropout = num_heads, dropout
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, padding: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """Attend within each sequence.

        Args:
            x: (B, T, C).
            bias: (1, H, T, T), added to the scores of every sequence.
            padding: (B, T) boolean, True at the keys that nobody may see.
            rows: (N,) indices into the B * T positions, ascending, the only ones whose output is asked for; None
                for all.

        Returns:
            (B, T, C), or (N, C).
        """
        k, v = self._heads(self.k_proj(x)), self._heads(self.v_proj(x))
        asking, taken = x, None  # (B, Q, C) of Q queries in each sequence, as many as the one with the most rows has
        if rows is not None:
            positions, taken = group_by_sequence(rows, len(x), x.size(1))  # (B, Q), (N,)
            asking = x.gather(1, positions[..., None].expand(-1, -1, x.size(2)))
            bias = None if bias is None else bias[0].transpose(0, 1)[positions].transpose(1, 2)  # (B, H, Q, T)
        q = self._heads(self.q_proj(asking))
        out = attend(q, k, v, bias, padding, self.dropout if self.training else 0.0)  # (B, H, Q, D)
        return self.out_proj(take_rows(out.transpose(1, 2).flatten(2), taken))  # (B, Q, H, D) -> (B, T, C) or (N, C)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, T, C) -> (B, H, T, D)


def take_rows(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return the given rows (N, C) of (B, T, C), or all of it as it is."""
    return x if rows is None else x.flatten(0, 1).index_select(0, rows)


def group_by_sequence(rows: Tensor, sequences: int, length: int) -> tuple[Tensor, Tensor]:
    """Lay ascending rows (N,) of B sequences of T positions out by sequence.

    Returns:
        Positions in the sequence, (B, Q), Q the most rows in any, filled up with 0; and where in its B * Q entries
        each row is, (N,).
    """
    sequence = rows // length
    count = torch.bincount(sequence, minlength=sequences)  # (B,)
    most = int(count.max())
    rank = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[sequence]
    taken = sequence * most + rank
    return rows.new_zeros(sequences * most).index_copy_(0, taken, rows % length).view(sequences, most), taken


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, padding: Tensor | None, p: float = 0.0) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + bias) v without the padded keys: (B, H, T, D), as are q, k and v."""
    width, scale = q.size(-1), q.size(-1) ** -0.5
    if padding is not None and bias is None:
        bias = torch.zeros_like(padding, dtype=q.dtype).masked_fill_(padding, PADDED_KEY)[:, None, None]  # (B,1,1,T)
    elif padding is not None:
        q, k, v = hide_padding(q, k, v, padding)
    if p and q.device.type == "cpu":
        return attend_with_cheap_dropout(q, k, v, bias, p, scale)[..., :width]
    if bias is None or q.device.type == "cpu":  # there the kernel adds a float32 bias to scores of any type
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p=p, scale=scale)[..., :width]
    dtype = q.dtype
    q, k, v, bias = match_types(q, k, v, bias)
    with torch.autocast(q.device.type, enabled=False):  # it would undo that
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p=p, scale=scale)[..., :width].to(dtype)


def match_types(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give q, k, v and the bias one type, as GPU kernels want it, without losing what the bias says.

    bfloat16 would: beyond a distance of about 130 it has no room for half a position, so attention is done in float32.
    """
    dtype = torch.float32 if q.dtype == torch.bfloat16 and bias.dtype == torch.float32 else q.dtype
    return q.to(dtype), k.to(dtype), v.to(dtype), bias.to(dtype)


def hide_padding(q: Tensor, k: Tensor, v: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add a channel in which each query holds 1 and each padded key a large negative number.

    The scores of padded keys fall by that much, and the bias stays one (1, H, T, T) tensor: a mask would have to
    be added to it and so repeat it for every sequence of the batch.
    """
    ones = q.new_zeros(PADDING_CHANNELS)
    ones[0] = 1
    hidden = q.new_zeros(*padding.shape, PADDING_CHANNELS)  # (B, T, 8)
    hidden[..., 0] = padding * PADDED_KEY
    q = torch.cat([q, ones.expand(*q.shape[:-1], -1)], dim=-1)  # (B, H, T, D + 8)
    k = torch.cat([k, hidden[:, None].expand(*k.shape[:-1], -1)], dim=-1)
    return q, k, F.pad(v, (0, PADDING_CHANNELS))


def attend_with_cheap_dropout(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float, scale: float) -> Tensor:
    """The same attention written out. On a CPU the fused kernel has no dropout, and its fallback draws slowly."""
    scores = (q * scale) @ k.transpose(-1, -2)  # (B, H, T, T)
    if bias is not None:
        scores = scores.to(bias.dtype).add_(bias)
    return dropout(scores.softmax(-1).to(v.dtype), p, training=True) @ v
