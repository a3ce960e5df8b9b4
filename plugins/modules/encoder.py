"""RoBERTa's Transformer encoder, optionally with other positions, normalized embeddings and a zero mask embedding.

Parameter names are fairseq's, so checkpoints load in both directions. Shapes: B sequences, T tokens,
C channels, H heads, V words.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .attention import SelectedTokens, SelfAttention, take_rows
from .compiling import Compilable, fix, vary
from .dropout import Dropout
from .flex import MOST_SHAPES, runs_on
from .linear import Linear
from .norm import LayerNorm, l2_normalize, to_autocast
from .placement import Placement, query_type
from .position_scheme import Positions
from .recompute import call


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward net, each with a residual connection and a layer norm.

    Args:
        embed_dim: C.
        ffn_dim: width of the feed-forward net.
        num_heads: H.
        activation: activation of the feed-forward net.
        dropout, attention_dropout, activation_dropout: after each part; on attention weights; after the activation.
        pre_norm: normalize the input of each part (pre-norm) instead of the sum after it (post-norm, as RoBERTa).
        norm_eps: added to the variance in layer norms.
    """

    def __init__(
        self,
        embed_dim: int,
        ffn_dim: int,
        num_heads: int,
        activation: Callable[[Tensor], Tensor],
        *,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        pre_norm: bool = False,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attn = SelfAttention(embed_dim, num_heads, attention_dropout)
        self.self_attn_layer_norm = LayerNorm(embed_dim, norm_eps)
        self.fc1 = Linear(embed_dim, ffn_dim)
        self.fc2 = Linear(ffn_dim, embed_dim)
        self.final_layer_norm = LayerNorm(embed_dim, norm_eps)
        self.activation = activation
        self.dropout = Dropout(dropout)
        self.activation_dropout = Dropout(activation_dropout)

    def forward(
        self, x: Tensor, placement: Placement, padding: Tensor | None = None, rows: SelectedTokens | None = None
    ) -> Tensor:
        """Map (B, T, C) to (B, T, C), or to (N, C) at the given rows; arguments as in :class:`SelfAttention`."""
        residual = x if rows is None else take_rows(x, rows.index)
        if self.pre_norm:
            x = residual + self.dropout(self.self_attn(self.self_attn_layer_norm(x), placement, padding, rows))
            return x + self.dropout(self.feed_forward(self.final_layer_norm(x)))
        x = self.self_attn_layer_norm(residual + self.dropout(self.self_attn(x, placement, padding, rows)))
        return self.final_layer_norm(x + self.dropout(self.feed_forward(x)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.fc2(self.activation_dropout(self.activation(self.fc1(x))))


class TokenEmbedding(nn.Module):
    """Token embedding: the row of the table, optionally normalized and scaled; zeros for a mask without a row.

    The table is an argument of ``forward``, not a parameter of this module, so ``embed_tokens`` keeps fairseq's key.

    Args:
        mask_index: index of ``<mask>``. If it is V, the table has no row for it and its embedding is zero.
        normalize: divide each row by its L2 norm.
        scale: factor on the rows (1 or sqrt(C)).
    """

    def __init__(self, mask_index: int, normalize: bool = False, scale: float = 1.0):
        super().__init__()
        self.mask_index, self.normalize, self.scale = mask_index, normalize, scale

    def forward(self, tokens: Tensor, table: nn.Embedding) -> Tensor:
        """Map tokens (B, T) to (B, T, C).

        Raises:
            IndexError: (on a CPU) an index that is neither a row of the table nor the mask.
        """
        rowless = self.mask_index >= table.num_embeddings
        is_mask = tokens == self.mask_index
        x = table(tokens.masked_fill(is_mask, 0) if rowless else tokens)
        if self.normalize:
            x = l2_normalize(x)
        if rowless:
            x = x.masked_fill(is_mask[..., None], 0)
        return x if self.scale == 1 else x * self.scale

    def extra_repr(self) -> str:
        return f"mask_index={self.mask_index}, normalize={self.normalize}, scale={self.scale:.4g}"


class SentenceEncoder(Compilable):
    """A stack of layers over embedded tokens.

    Args:
        embed_tokens: (V, C) table.
        positions: the positional scheme.
        token_embedding: from tokens and table to the input.
        layers: the layers.
        padding_index: index of ``<pad>``.
        dropout: after the embedding.
        layer_norm_embedding: a layer norm before that dropout.
        pre_norm: the layers are pre-norm, so the output gets its own layer norm.
        layer_drop: probability of skipping a layer in training (Fan et al., 2019, arXiv 1909.11556).
        embedding_noise: applied to the embedded input (quantization noise), or None.
        norm_eps: added to the variance in layer norms.
        checkpoint_activations: in training, compute each layer again in the backward pass.
        flex_attention: in training, compute the bias of the positions in the kernel (:mod:`.flex`). It needs a GPU, and
            layers without attention dropout, and is done for the first two shapes of batches only.
    """

    def __init__(
        self,
        embed_tokens: nn.Embedding,
        positions: Positions,
        token_embedding: TokenEmbedding,
        layers: Iterable[nn.Module],
        *,
        padding_index: int,
        dropout: float = 0.1,
        layer_norm_embedding: bool = True,
        pre_norm: bool = False,
        layer_drop: float = 0.0,
        embedding_noise: nn.Module | None = None,
        norm_eps: float = 1e-5,
        checkpoint_activations: bool = False,
        flex_attention: bool = False,
    ):
        super().__init__()
        width = embed_tokens.embedding_dim
        self.register_buffer("version", torch.tensor([3.0]))  # fairseq's checkpoints carry it
        self.embed_tokens = embed_tokens
        self._positions = positions.key or "embed_positions"  # where checkpoints have its parameters
        self.add_module(self._positions, positions)
        self.token_embedding = token_embedding
        self.layernorm_embedding = LayerNorm(width, norm_eps) if layer_norm_embedding else None
        self.dropout = Dropout(dropout)
        self.quant_noise = embedding_noise
        self.layers = nn.ModuleList(layers)
        self.layer_norm = LayerNorm(width, norm_eps) if pre_norm else None
        self.padding_index, self.layer_drop = padding_index, layer_drop
        self.checkpoint_activations, self.flex_attention = checkpoint_activations, flex_attention
        self.flex_shapes: set[torch.Size] = set()  # (B, T) of batches that flex_attention computes
        self.padded = False  # a batch had padding
        self.prompt = None  # a SoftPrompt; its features are removed from the output

    @property
    def positions(self) -> Positions:
        """The positional scheme."""
        return getattr(self, self._positions)

    def forward(
        self,
        tokens: Tensor,
        rows: Tensor | None = None,
        most: int | None = None,
        has_padding: bool | None = None,
        inner_states: bool = True,
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode a batch.

        With ``most`` and ``has_padding`` no result is read back from a GPU, so that it never waits for the program.

        Args:
            tokens: (B, T).
            rows: (N,) ascending indices into the B * T tokens whose features are computed; None for all. The last
                layer computes only these.
            most: the largest number of rows in a sequence; None to find it.
            has_padding: whether any token is padding; None to look.
            inner_states: also return the states between the layers, which compiled layers keep only if this is set.

        Returns:
            Features (B, T, C), or (N, C), and the input of every layer followed by the output of the last.
        """
        prompt, x = self.prompt, self.embed(tokens)  # (B, T, C), or with a prompt (B, T + P, C), as up to the end
        if prompt is not None:
            rows = None if rows is None else prompt.move_rows(rows, tokens.size(1))
            tokens = prompt.make_room(tokens)
        padding = tokens == self.padding_index
        x = x.masked_fill(padding[..., None], 0)
        stack, length = self.compiled(), tokens.size(1)
        has_padding = bool(padding.any()) if has_padding is None else has_padding
        self.padded = self.padded or has_padding
        # Compiled layers have one graph for batches with padding and without, as soon as there was a batch with some.
        padding = padding if has_padding or (self.padded and stack is not None) else None
        flex = self.flex_attention and self.training and runs_on(x.device) and self.has_kernel(x.shape[:2])
        placement = Placement(
            self.positions, slice(0, length), length, x.device, dtype=query_type(x), compiled=stack is not None,
            flex=flex,
        )  # fmt: skip
        asked = None if rows is None else SelectedTokens.of(rows, most, len(tokens), placement)
        if stack is None:
            x, states = self.stack(x, placement, padding, asked, inner_states)
        else:
            for tensor in (x, padding):
                (fix if flex else vary)(tensor, 0, 1)
            x, states = stack(self, x, placement, padding, asked, inner_states)
        if prompt is not None:
            x, *states = (t if t.ndim == 2 else prompt.remove(t) for t in (x, *states))  # (N, C) has no prompt
        return x, states

    def stack(
        self, x: Tensor, placement: Placement, padding: Tensor | None, rows: SelectedTokens | None, inner_states: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Apply the layers to (B, T, C); arguments and results as in :meth:`forward` and :class:`SelfAttention`."""
        states, last = [x], self.layers[-1]
        recompute = self.checkpoint_activations and self.training
        for layer in self.layers:
            if self.training and self.layer_drop and torch.rand(()) < self.layer_drop:
                x = take_rows(x, rows.index) if layer is last and rows is not None else x
                continue
            x = call(layer, x, placement, padding, rows if layer is last else None, recompute=recompute)
            states.append(x)
        return x if self.layer_norm is None else self.layer_norm(x), states if inner_states else []

    def has_kernel(self, shape: torch.Size) -> bool:
        """Return whether flex_attention computes batches of this shape (B, T): the first ones of the run."""
        if len(self.flex_shapes) < MOST_SHAPES:
            self.flex_shapes.add(shape)
        return shape in self.flex_shapes

    def look_up(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (T, C) of tokens (T,), without positions, to start a prompt from."""
        return self.token_embedding(tokens, self.embed_tokens)

    def embed(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) to the input of the first layer, (B, T, C), or (B, T + P, C) with a prompt of P vectors.

        Padding is not set to zero yet.
        """
        x = self.token_embedding(tokens, self.embed_tokens)
        if self.prompt is not None:
            x, tokens = self.prompt.insert(x), self.prompt.make_room(tokens)
        if self.positions.embeds:
            real = tokens != self.padding_index
            where = real.cumsum(1) * real - 1  # (B, T), counted without padding; -1 at padding
            x = self.positions.embed(x, where, tokens.size(1))
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        if self.layer_norm is None:  # post-norm: the first layer reads it as it reads the output of a layer norm
            x = to_autocast(x)
        x = self.dropout(x)
        return x if self.quant_noise is None else self.quant_noise(x)


def embedding_scale(width: int, scaled: bool) -> float:
    """Return sqrt(C), which scales rows of norm 1 to the norm of a layer norm's output, or 1 if not ``scaled``."""
    return math.sqrt(width) if scaled else 1.0
