"""Scaled dot-product attention of split heads, with a bias, padding or further channels, as functions.

Shapes: B sequences, H heads of D channels, Q queries, S keys.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .dropout import dropout
from .norm import at_least_float32
from .placement import Placement
from .products import matmul

PADDING_CHANNELS = 8  # one is used; GPU kernels want the head dimension to be a multiple of eight
# The largest number of keys for which scores are written in half precision. The CPU's fused kernel multiplies bfloat16
# with AMX only. Without it, writing is faster for more keys, too, but scores of 1,024 keys take as much memory as all
# other activations.
MOST_WRITTEN = 256 if torch.cpu.get_capabilities().get("amx_bf16") else 512
HALF = (torch.bfloat16, torch.float16)
PADDED_KEY = -3e4  # within half precision, and divided by sqrt(D) still far below any real score


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
    ones = F.pad(q.new_ones(1), (0, PADDING_CHANNELS - 1))  # (8,); `ones[0] = 1` would wait for a GPU
    hidden = q.new_zeros(*padding.shape, PADDING_CHANNELS)  # (B, S, 8)
    hidden[..., 0] = padding * PADDED_KEY
    q = torch.cat([q, ones.expand(*q.shape[:-1], -1)], dim=-1)  # (B, H, Q, D + 8)
    k = torch.cat([k, hidden[:, None].expand(*k.shape[:-1], -1)], dim=-1)
    return q, k, F.pad(v, (0, PADDING_CHANNELS))


def writes_scores(device: torch.device, dtype: torch.dtype, keys: int, p: float, training: bool) -> bool:
    """Return whether attention is computed without a fused kernel, so that all scores are in memory.

    The CPU's fused kernel has no dropout, and its fallback draws random numbers slowly. In half precision its backward
    pass takes several times as long as three matrix products if there are few keys, or no AMX.

    Args:
        device, dtype: device and data type of the queries.
        keys: S.
        p: dropout probability of the attention weights.
        training: there will be a backward pass. Gradients may still be disabled, by activation checkpointing, which
            must compute the same twice.
    """
    if device.type != "cpu":
        return False
    return p > 0 or (training and dtype in HALF and keys <= MOST_WRITTEN)


def attend_by_scores(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float, scale: float) -> Tensor:
    """Attention without a fused kernel; arguments as in :func:`attend`. See :func:`writes_scores`."""
    if bias is not None and q.dtype in HALF and bias.dtype == q.dtype:
        # The product is added to a copy of the bias, so that their sum is rounded once. The copy must not be a view:
        # the gradient of a view that is written to takes five more passes over the scores.
        scores = copied(bias, *q.shape[:3])
        scores = scores.baddbmm_(q.flatten(0, 1), k.flatten(0, 1).transpose(-1, -2), alpha=scale)  # (B * H, Q, S)
        scores = scores.unflatten(0, q.shape[:2])
    else:
        scores = matmul(q * scale, k.transpose(-1, -2))  # (B, H, Q, S)
        if bias is not None:
            scores = scores.to(bias.dtype).add_(bias)
    return matmul(dropout(scores.softmax(-1).to(v.dtype), p, training=True), v)


def copied(bias: Tensor, sequences: int, heads: int, queries: int) -> Tensor:
    """Return a copy (B * H, Q, S) of a bias (1 or B, 1 or H, 1 or Q, S) that is not a view.

    Args:
        bias: the bias.
        sequences, heads, queries: B, H and Q.
    """
    return torch.cat(bias.expand(sequences, heads, queries, -1).unbind())
