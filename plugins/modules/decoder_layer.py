"""One layer of a GPT-2 style decoder (Radford et al., 2019, section 2.3).

Shapes: B sequences, T new tokens, S tokens in the cache and these, C channels, H heads of D = C / H channels.
"""

from collections.abc import Callable

from torch import Tensor, nn

from .attention import Attention
from .cache import Cache
from .dropout import Dropout
from .linear import DecodingLinear
from .norm import LayerNorm
from .placement import Placement


class CausalSelfAttention(Attention):
    """Attention to the past, with one fused, callable input projection.

    Args:
        width: C.
        heads: H, a divisor of C.
        bias: biases in both projections.
        dropout: probability of dropping an attention weight.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True, dropout: float = 0.0):
        super().__init__(width, heads, dropout)
        self.c_attn = DecodingLinear(width, 3 * width, bias=bias)
        self.c_proj = DecodingLinear(width, width, bias=bias)

    def forward(self, x: Tensor, placement: Placement, layer: int, cache: Cache | None) -> Tensor:
        """Map (B, T, C) to (B, T, C).

        Args:
            x: the T new tokens.
            placement: their positions, and the number of keys.
            layer: index of the layer in the cache.
            cache: keys and values of earlier tokens; those of the new ones are appended.
        """
        q, k, v = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # 3 x (B, H, T, D)
        q, k = placement.rotate(q, k)
        if cache is not None:
            k, v = cache.append(layer, k, v)  # (B, H, S, D)
        if self.record is not None:
            self.record_weights(q, k, placement)
        return self.c_proj(self.attend(q, k, v, placement).transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, C)


class FeedForward(nn.Module):
    """Linear, activation, linear: C to ``inner`` to C."""

    def __init__(self, width: int, inner: int, activation: Callable[[Tensor], Tensor], *, bias: bool = True):
        super().__init__()
        self.c_fc = DecodingLinear(width, inner, bias=bias)
        self.c_proj = DecodingLinear(inner, width, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    """A pre-norm layer. Without ``residual`` each half replaces its input instead of being added to it."""

    def __init__(
        self,
        width: int,
        inner: int,
        heads: int,
        activation: Callable[[Tensor], Tensor],
        bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        residual: bool = True,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.ln_1 = LayerNorm(width, norm_eps, bias=bias)
        self.attn = CausalSelfAttention(width, heads, bias=bias, dropout=attention_dropout)
        self.ln_2 = LayerNorm(width, norm_eps, bias=bias)
        self.mlp = FeedForward(width, inner, activation, bias=bias)
        self.dropout = Dropout(dropout)
        self.residual = residual

    def forward(self, x: Tensor, placement: Placement, layer: int, cache: Cache | None) -> Tensor:
        """Map (B, T, C) to (B, T, C); arguments as in :class:`CausalSelfAttention`."""
        y = self.dropout(self.attn(self.ln_1(x), placement, layer, cache))
        x = x + y if self.residual else y
        y = self.dropout(self.mlp(self.ln_2(x)))
        return x + y if self.residual else y
