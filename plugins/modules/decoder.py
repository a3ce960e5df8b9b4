"""A GPT-2 style decoder with a key-value cache (Radford et al., 2019, section 2.3).

Shapes: B sequences, T new tokens, S tokens in the cache and these, C channels, H heads of D = C / H channels.
Parameter names are GPT-2's (``wte``, ``wpe``, ``h``, ``c_attn``, ...), so checkpoints in its names load as they are.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cache import Cache
from .compiling import Compilable, vary
from .decoder_layer import Block, CausalSelfAttention, FeedForward
from .dropout import Dropout
from .norm import LayerNorm
from .placement import Placement, query_type
from .positions import Positions, Spec, Where
from .positions import build as build_positions
from .recompute import call
from .scaled_dot_product import writes_scores
from .scaling import Scaling
from .soft_prompt import Prompt

__all__ = ["Block", "CausalSelfAttention", "Decoder", "FeedForward", "INITIALIZATIONS", "initialize"]

INITIALIZATIONS = ("gpt2", "xavier")


class Decoder(Compilable):
    """Token and position embedding, layers, final layer norm.

    Args:
        words: V, rows of the token table.
        block_size: the longest context.
        width: C.
        inner: width of the feed-forward nets.
        layers: number of layers.
        heads: H, a divisor of C.
        activation: activation of the feed-forward nets.
        positions: a name in :data:`plugins.modules.positions.SCHEMES`.
        scaling: scaling of positions, for inputs longer than trained (default: none).
        alibi_float32: see :class:`.positions.Alibi`.
        bias: biases in linear layers and layer norms.
        dropout: at the end of each half of a layer.
        embedding_dropout: after the embedding.
        attention_dropout: on attention weights.
        residual: residual connections.
        norm_eps: added to the variance in layer norms.

    Raises:
        ValueError: H does not divide C, or no scheme has the name ``positions``.
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
        scaling: Scaling | None = None,
        alibi_float32: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        residual: bool = True,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.block_size, self.heads, self.attention_dropout = block_size, heads, attention_dropout
        self.wte = nn.Embedding(words, width)
        spec = Spec(width, heads, block_size, True, scaling=scaling or Scaling(), alibi_float32=alibi_float32)
        scheme = build_positions(positions, spec)
        self._positions = scheme.key or "wpe"  # where checkpoints have its parameters
        self.add_module(self._positions, scheme)
        self.prompt: Prompt | None = None  # takes the first positions
        self.window: int | None = None  # how many tokens each token attends to at most, itself included; None for all
        self.checkpoint_activations = False  # in training: compute each layer again in the backward pass
        self.dropout = Dropout(embedding_dropout)
        options: dict[str, Any] = dict(
            bias=bias, dropout=dropout, attention_dropout=attention_dropout, residual=residual, norm_eps=norm_eps
        )
        self.h = nn.ModuleList(Block(width, inner, heads, activation, **options) for _ in range(layers))
        self.ln_f = LayerNorm(width, norm_eps, bias=bias)

    def forward(
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        after_layer: Callable[[int, Tensor], Tensor] | None = None,
        window: int | None = None,
    ) -> Tensor:
        """Map tokens (B, T) to features (B, T, C).

        Args:
            tokens: with a cache, those that follow its contents; they are added to it.
            cache: returned by :meth:`new_cache`.
            after_layer: (layer, (B, T, C)) -> (B, T, C), applied after each layer.
            window: overrides :attr:`window` and the cache's.

        Raises:
            ValueError: more tokens than the positional scheme has positions, those in the cache included.
        """
        past = 0 if cache is None else cache.length
        prompt = self.prompt if past == 0 else None  # later, the cache contains it
        count = tokens.size(1) + (0 if prompt is None else len(prompt))
        length = past + count
        if self.positions.limit is not None and length > self.positions.limit:
            prompted = "" if self.prompt is None else f", {len(self.prompt)} vectors of a prompt among them,"
            raise ValueError(f"{length} tokens{prompted} exceed the block size of {self.block_size}")
        where = slice(past, length) if cache is None or cache.lengths is None else cache.places(tokens.size(1))
        x = self.embed(tokens, where, length, prompt)  # (B, P + T, C), P being 0 without a prompt
        dtype, first = query_type(x), 0 if cache is None else cache.first
        given = (window, None if cache is None else cache.window, self.window)
        window = next((each for each in given if each is not None), None)
        dropout = self.attention_dropout if self.training else 0.0
        compiled = self.compiled() if cache is None else None
        if compiled is None:
            explicit = writes_scores(x.device, dtype, length - first, dropout, self.training)
        else:
            explicit = x.device.type == "cpu" and dropout > 0
        placement = Placement(
            self.positions, where, length - first, x.device, explicit, first=first, window=window, dtype=dtype,
            compiled=compiled is not None,
        )  # fmt: skip
        if compiled is None:
            x = self.stack(x, placement, after_layer, prompt, cache)
        else:
            vary(x, 0, 1)
            for tensor in () if after_layer is None else vars(after_layer).values():  # one value per sequence
                vary(tensor if torch.is_tensor(tensor) else None, 0)
            x = compiled(self, x, placement, after_layer, prompt)
        if cache is not None:
            cache.advance(count)
            cache.prompted = cache.prompted if prompt is None else len(prompt)
        return x

    def stack(
        self,
        x: Tensor,
        placement: Placement,
        after_layer: Callable[[int, Tensor], Tensor] | None,
        prompt: Prompt | None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Map the input of the first layer, (B, P + T, C), to features (B, T, C); arguments as in :meth:`forward`."""
        recompute = self.checkpoint_activations and self.training and cache is None
        for layer, block in enumerate(self.h):
            x = call(block, x, placement, layer, cache, recompute=recompute)
            if after_layer is None:
                continue
            if prompt is None:
                x = after_layer(layer, x)
            else:
                x = torch.cat([x[:, : len(prompt)], after_layer(layer, prompt.remove(x))], dim=1)
        return self.ln_f(x if prompt is None else prompt.remove(x))

    @property
    def positions(self) -> Positions:
        """The positional scheme."""
        return getattr(self, self._positions)

    @property
    def max_tokens(self) -> int:
        """The block size, less the vectors of a prompt."""
        return self.block_size - (0 if self.prompt is None else len(self.prompt))

    def embed(self, tokens: Tensor, where: Where, length: int, prompt: Prompt | None = None) -> Tensor:
        """Map tokens (B, T) to the input of the first layer, (B, T, C), or (B, P + T, C) with a prompt before them.

        Args:
            tokens: (B, T).
            where: their positions and those of the prompt.
            length: a number above every position.
            prompt: P vectors, or None.
        """
        x = self.wte(tokens) if prompt is None else prompt.insert(self.wte(tokens))
        return self.dropout(self.positions.embed(x, where, length))

    def look_up(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (T, C) of tokens (T,), without positions, to start a prompt from."""
        return self.wte(tokens)

    def new_cache(self, batch: int, window: int | None = None) -> Cache:
        """Return an empty cache for ``batch`` sequences.

        Args:
            batch: B.
            window: the cache drops tokens that precede the next one by this many positions or more; it never fills.

        Raises:
            ValueError: a window for a scheme whose vectors are added to the embeddings, and bound to positions.
        """
        if window is not None and self.positions.embeds:
            raise ValueError("a cache with a window needs positions that act on differences, as alibi and rotary do")
        like = self.wte.weight.detach()
        return Cache(len(self.h), (batch, self.heads, self.block_size, like.size(1) // self.heads), like, window)


def initialize(module: nn.Module, scheme: str = "gpt2") -> None:
    """Initialize the parameters of a decoder and its output projection, in place.

    Args:
        module: contains :class:`Block` layers.
        scheme: ``gpt2``: normal with standard deviation 0.02, and 0.02 / sqrt(2 L) for the projections added to the
            residual stream (Radford et al., 2019, section 2.3); ``xavier``: Xavier-uniform linear layers, embeddings
            normal with standard deviation 0.02. Biases are 0 and gains 1 in both.

    Raises:
        ValueError: an unknown scheme.
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
