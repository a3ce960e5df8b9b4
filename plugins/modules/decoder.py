"""A GPT-2 style decoder with a key-value cache (Radford et al., 2019, section 2.3).

Shapes: B sequences, T tokens, S tokens in the cache and this chunk, C channels, H heads of D = C / H channels.
Parameter names are GPT-2's (``wte``, ``wpe``, ``h``, ``c_attn``, ...), so checkpoints in its names load as they are.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .alibi import linear_bias, power_of_two
from .attention import attend
from .cache import Cache
from .dropout import Dropout
from .linear import Linear
from .soft_prompt import SoftPrompt

POSITIONS = ("learned", "sinusoidal", "alibi")
INITIALIZATIONS = ("gpt2", "xavier")


class CausalSelfAttention(nn.Module):
    """Attention to the past, with one fused, callable input projection.

    Args:
        width: C.
        heads: H, a divisor of C.
        bias: biases in both projections.
        dropout: probability of dropping an attention weight.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.num_heads, self.dropout = heads, dropout
        self.c_attn = Linear(width, 3 * width, bias=bias)
        self.c_proj = Linear(width, width, bias=bias)

    def forward(self, x: Tensor, mask: Tensor | None, layer: int, cache: Cache | None) -> Tensor:
        """Map (B, T, C) to (B, T, C); ``mask`` is what :class:`CausalMask` returned for this chunk."""
        q, k, v = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # 3 x (B, H, T, D)
        if cache is not None:
            k, v = cache.append(layer, k, v)  # (B, H, S, D)
        p = self.dropout if self.training else 0.0
        if mask is None:  # the kernel's own causal mask skips what is not seen; one query alone sees all
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=q.size(2) > 1)
        else:
            out = attend(q, k, v, mask, None, p)
        return self.c_proj(out.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, C)


class CausalMask(nn.Module):
    """What is added to the scores of a chunk of T queries, the last of S tokens: minus infinity for the future.

    Args:
        alibi_heads: H, to add ALiBi's linear bias (Press et al., 2022, section 3); 0 for none.
    """

    def __init__(self, alibi_heads: int = 0):
        super().__init__()
        self.alibi_heads = alibi_heads
        self._mask = torch.empty(1, 1, 0, 0)  # float32 and no buffer: `.half()` must not reach it

    def forward(
        self, queries: int, keys: int, device: torch.device, explicit: bool = False, places: Tensor | None = None
    ) -> Tensor | None:
        """Return (1, H or 1, T, S), or None where ``is_causal`` of the kernel says the same.

        ``explicit`` asks for a mask even there (dropout on a CPU is written out). ``places`` (B, T) are the positions
        of the queries where rows differ; then it returns (B, H or 1, T, S).
        """
        if places is None and not (self.alibi_heads or explicit) and (queries == keys or queries == 1):
            return None
        if self._mask.size(-1) < keys or self._mask.device != device:
            self._mask = self._build(power_of_two(keys)).to(device)  # not anew for each token that is generated
        if places is not None:
            return self._mask[0, :, :, :keys][:, places].transpose(0, 1)  # (H or 1, B, T, S) -> (B, H or 1, T, S)
        return self._mask[:, :, keys - queries : keys, :keys]

    @torch.inference_mode(False)  # or a mask first built in inference mode could not be used in training
    def _build(self, length: int) -> Tensor:
        mask = torch.full((1, length, length), -math.inf).triu(1)
        return (mask + linear_bias(self.alibi_heads, length, symmetric=True) if self.alibi_heads else mask)[None]


class FeedForward(nn.Module):
    def __init__(self, width: int, inner: int, activation: Callable[[Tensor], Tensor], *, bias: bool = True):
        super().__init__()
        self.c_fc = Linear(width, inner, bias=bias)
        self.c_proj = Linear(inner, width, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    """A pre-norm layer. Without ``residual`` each half replaces its input instead of adding to it."""

    def __init__(
        self,
        width,
        inner,
        heads,
        activation,
        bias=True,
        dropout=0.0,
        attention_dropout=0.0,
        residual=True,
        norm_eps=1e-5,
    ):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, norm_eps, bias=bias)
        self.attn = CausalSelfAttention(width, heads, bias=bias, dropout=attention_dropout)
        self.ln_2 = nn.LayerNorm(width, norm_eps, bias=bias)
        self.mlp = FeedForward(width, inner, activation, bias=bias)
        self.dropout = Dropout(dropout)
        self.residual = residual

    def forward(self, x: Tensor, mask: Tensor | None, layer: int, cache: Cache | None) -> Tensor:
        y = self.dropout(self.attn(self.ln_1(x), mask, layer, cache))
        x = x + y if self.residual else y
        y = self.dropout(self.mlp(self.ln_2(x)))
        return x + y if self.residual else y


class Decoder(nn.Module):
    """Token and position embedding, layers, final layer norm.

    Args:
        words: V, rows of the token table.
        block_size: the longest context.
        width: C.
        inner: width of the feed-forward nets.
        layers: how many.
        heads: H, a divisor of C.
        activation: of the feed-forward nets.
        positions: ``learned``; ``sinusoidal`` (Vaswani et al., 2017, section 3.5, with its sqrt(C) on embeddings); or
            ``alibi``.
        bias: biases in linear layers and layer norms.
        dropout: at the end of each half of a layer.
        embedding_dropout: after the embedding.
        attention_dropout: on attention weights.
        residual: residual connections.
        norm_eps: added to the variance in layer norms.
    """

    def __init__(
        self,
        words: int,
        block_size: int,
        width: int,
        inner: int,
        layers: int,
        heads: int,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        *,
        positions: str = "learned",
        bias: bool = True,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        residual: bool = True,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        if positions not in POSITIONS:
            raise ValueError(f"positions is one of {', '.join(POSITIONS)}, not {positions!r}")
        self.block_size, self.heads, self.attention_dropout = block_size, heads, attention_dropout
        self.wte = nn.Embedding(words, width)
        self.wpe = nn.Embedding(block_size, width) if positions == "learned" else None
        self.prompt = None  # a SoftPrompt, which takes the first positions
        table = sinusoids(block_size, width) if positions == "sinusoidal" else None
        self.register_buffer("sinusoids", table, persistent=False)
        self.mask = CausalMask(heads if positions == "alibi" else 0)
        self.dropout = Dropout(embedding_dropout)
        options = dict(
            bias=bias, dropout=dropout, attention_dropout=attention_dropout, residual=residual, norm_eps=norm_eps
        )
        self.h = nn.ModuleList(Block(width, inner, heads, activation, **options) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width, norm_eps, bias=bias)

    def forward(
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        after_layer: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Map tokens (B, T) to features (B, T, C).

        Args:
            tokens: with a cache, those that follow what it holds; they are added to it.
            cache: of :meth:`new_cache`.
            after_layer: (layer, (B, T, C)) -> (B, T, C), applied after each layer.

        Raises:
            ValueError: more tokens than :attr:`max_tokens`, those in the cache included.
        """
        past = 0 if cache is None else cache.length
        prompt = self.prompt if past == 0 else None  # later, the cache holds it
        count = tokens.size(1) + (0 if prompt is None else len(prompt))
        length = past + count
        if length > self.block_size:
            prompted = "" if self.prompt is None else f", {len(self.prompt)} vectors of a prompt among them,"
            raise ValueError(f"{length} tokens{prompted} exceed the block size of {self.block_size}")
        places = None if cache is None or cache.lengths is None else cache.places(tokens.size(1))  # (B, T)
        x = self.embed(tokens, past, places, prompt)  # (B, P + T, C), P being 0 without a prompt
        on_cpu = x.device.type == "cpu"  # where dropout of attention weights is written out
        explicit = on_cpu and self.training and self.attention_dropout > 0
        mask = self.mask(count, length, x.device, explicit, places)
        for layer, block in enumerate(self.h):
            x = block(x, mask, layer, cache)
            if after_layer is not None and prompt is None:
                x = after_layer(layer, x)
            elif after_layer is not None:
                x = torch.cat([x[:, : len(prompt)], after_layer(layer, prompt.remove(x))], dim=1)
        if cache is not None:
            cache.advance(count)
            cache.prompted = cache.prompted if prompt is None else len(prompt)
        return self.ln_f(x if prompt is None else prompt.remove(x))

    @property
    def max_tokens(self) -> int:
        """The longest context that leaves room for the prompt."""
        return self.block_size - (0 if self.prompt is None else len(self.prompt))

    def embed(
        self, tokens: Tensor, past: int = 0, places: Tensor | None = None, prompt: SoftPrompt | None = None
    ) -> Tensor:
        """Map tokens (B, T) to the first layer's input (B, T, C), or with a prompt in front of them (B, P + T, C).

        Positions count from ``past``, or are ``places`` (B, T).
        """
        x = self.wte(tokens) if prompt is None else prompt.insert(self.wte(tokens))
        at = slice(past, past + x.size(1)) if places is None else places
        if self.wpe is not None:
            x = x + self.wpe.weight[at]
        elif self.sinusoids is not None:
            x = x * math.sqrt(x.size(-1)) + self.sinusoids[at]
        return self.dropout(x)

    def look_up(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (T, C) of tokens (T,), positions left out: what a prompt of these words is."""
        return self.wte(tokens)

    def new_cache(self, batch: int) -> Cache:
        """Return an empty cache for ``batch`` sequences."""
        like = self.wte.weight.detach()
        return Cache(len(self.h), (batch, self.heads, self.block_size, like.size(1) // self.heads), like)


def sinusoids(length: int, width: int) -> Tensor:
    """Return the (T, C) position vectors of Vaswani et al., 2017, section 3.5: sines, then cosines."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))  # (C/2,)
    angles = torch.arange(length)[:, None] * rates  # (T, C/2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]


def initialize(module: nn.Module, scheme: str = "gpt2") -> None:
    """Draw the parameters of a decoder and its output projection anew.

    ``gpt2``: normal with deviation 0.02, and 0.02 / sqrt(2 L) for what is added to the residual stream (Radford et al.,
    2019, section 2.3). ``xavier``: Xavier-uniform linear layers, embeddings normal with deviation 0.02. In both, biases
    are 0 and gains 1.
    """
    if scheme not in INITIALIZATIONS:
        raise ValueError(f"scheme is one of {', '.join(INITIALIZATIONS)}, not {scheme!r}")
    layers = sum(isinstance(m, Block) for m in module.modules())
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}  # one may be tied to the output
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if not isinstance(part, nn.Linear):
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
        if id(part.weight) in tables:
            continue
        if scheme == "xavier":
            nn.init.xavier_uniform_(part.weight)
        else:
            nn.init.normal_(part.weight, std=0.02 / math.sqrt(2 * layers) if name.endswith("c_proj") else 0.02)
