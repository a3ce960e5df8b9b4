"""The causal Multi-Style Adapter: each position is modulated by the style inferred from its own prefix.

The published adapter (:mod:`plugins.modules.published_style`) classifies the style from the last position and modulates
every position by it, so each position depends on its own future, and a cache is impossible. Here, with h the hidden
states after an early layer l0,

    z_t = mean of W h_1 ... W h_t                  R numbers, a summary of the prefix (or moving average, or a token)
    p_t = softmax(classifier(z_t))                 K probabilities for each position
    x  <- x + x * (p_t G_l) + p_t B_l              after layer l0 and later layers (FiLM, Perez et al., 2018)

G_l and B_l (K x C) are projections of K style embeddings. They are zero at first, so an untrained adapter is the
identity (adaLN-Zero, Peebles and Xie, 2023), and do not depend on the tokens, so they are computed once per pass. The
cost per position is one product with K numbers for all layers, and one multiply-add per layer. Inference from layer l0
needs no second pass, and its state, a sum of R numbers and a count, fits in a key-value cache.

Shapes: B sequences, T tokens, C channels, R channels of the classifier, K styles, N modulated layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cache import Cache
from .linear import product_of_few_rows

MOST_SHARED = 256  # positions; with more, a product for all layers would be larger than the caches
INFERENCES = ("running_mean", "token", "ema", "prefix", "given", "constant")


class StyleAdapter(nn.Module):
    """See the module's docstring.

    Args:
        width: C.
        layers: indices of the modulated layers, none before ``source``.
        styles: K.
        style_dim: width of a style embedding.
        hidden: R, width of the classifier.
        source: the layer from whose output the style is inferred.
        inference: the source of p_t: ``running_mean`` of the prefix; ``token``, its last state; ``ema``, an exponential
            moving average; ``prefix``, the running mean of the first ``prefix`` tokens, constant afterwards, with no
            modulation before; ``given``, labels only; ``constant``, 1 / K, a control with as many parameters and no
            style.
        decay: weight of the past in ``ema``.
        prefix: number of tokens that ``prefix`` reads.
        null_prob: in training, the share of sequences without modulation.
        true_prob: in training, the share of sequences modulated by their true label, if they have one.

    Raises:
        ValueError: an unknown ``inference``, or a modulated layer before ``source``.
    """

    def __init__(
        self,
        width: int,
        layers: list[int],
        styles: int = 4,
        style_dim: int = 64,
        hidden: int = 32,
        *,
        source: int = 0,
        inference: str = "running_mean",
        decay: float = 0.9,
        prefix: int = 16,
        null_prob: float = 0.1,
        true_prob: float = 0.5,
    ):
        super().__init__()
        if inference not in INFERENCES:
            raise ValueError(f"inference is one of {', '.join(INFERENCES)}, not {inference!r}")
        if min(layers, default=-1) < source:
            raise ValueError(f"layers {layers} begin before layer {source}, from which the style is inferred")
        self.layers, self.styles, self.source, self.inference = list(layers), styles, source, inference
        self.decay = {"token": 0.0, "ema": decay}.get(inference, 1.0)
        self.prefix = prefix if inference == "prefix" else 0
        self.null_prob, self.true_prob = null_prob, true_prob
        self.style_embeddings = nn.Parameter(torch.randn(styles, style_dim))
        self.modulation = nn.Linear(style_dim, 2 * len(layers) * width, bias=False)  # G and B of each layer
        nn.init.zeros_(self.modulation.weight)
        infers = inference not in ("given", "constant")
        self.summary = nn.Linear(width, hidden, bias=False) if infers else None  # W
        self.classifier = StyleClassifier(hidden, styles) if infers else None

    def begin(
        self, styles: Tensor | None = None, labels: Tensor | None = None, cache: Cache | None = None
    ) -> "StylePass":
        """Start a pass over a batch; call the result after each layer.

        Args:
            styles: (B, K) style weights for all positions, zeros for no style; None infers them.
            labels: (B,) true styles, -1 if unknown; used in training, and by ``inference="given"``.
            cache: the decoder's.
        """
        return StylePass(self, styles, labels, cache)

    def tables(self) -> dict[int, Tensor]:
        """Return {layer: (K, 2C)}, the gain and shift of each style."""
        return self.by_layer(self.table())

    def table(self, cache: Cache | None = None) -> Tensor:
        """Return the concatenated tables of all layers, (K, 2NC). They do not depend on the tokens."""
        if cache is not None and "table" in cache.style:
            return cache.style["table"]
        flat = self.modulation(self.style_embeddings)  # (K, 2NC)
        if cache is not None:
            cache.style["table"] = flat
        return flat

    def by_layer(self, flat: Tensor) -> dict[int, Tensor]:
        """Split (..., 2NC) into {layer: (..., 2C)}."""
        return dict(zip(self.layers, flat.chunk(len(self.layers), dim=-1), strict=True))

    def summarize(self, h: Tensor, cache: Cache | None = None) -> Tensor:
        """Map (B, T, R) to the means of all prefixes, (B, T, R), weighted by ``decay`` to the power of the distance."""
        h = h.float()
        if cache is not None and h.size(1) == 1:  # a step of generation: few numbers, so fewer calls
            sums = h + self.decay * cache.style.get("sum", 0)
            count = 1 + self.decay * cache.style.get("count", 0)
            cache.style.update(sum=sums, count=count)
            return sums / count
        steps = torch.arange(1, h.size(1) + 1, device=h.device, dtype=h.dtype)  # (T,)
        if self.decay == 1:
            sums, counts = h.cumsum(1), steps
        elif self.decay == 0:
            sums, counts = h, torch.ones_like(steps)
        else:
            distance = torch.arange(h.size(1), device=h.device)
            distance = (distance[:, None] - distance).clamp(min=-1)  # (T, T), -1 for later tokens
            weights = (self.decay ** distance.to(h.dtype)).masked_fill(distance < 0, 0)
            sums, counts = weights @ h, weights.sum(-1)
        if cache is not None:
            if "sum" in cache.style:
                powers = self.decay**steps
                sums = sums + powers[:, None] * cache.style["sum"]
                counts = counts + powers * cache.style["count"]
            cache.style.update(sum=sums[:, -1:], count=counts[-1])
        return sums / counts[:, None]

    def infer(self, h: Tensor, cache: Cache | None = None) -> tuple[Tensor, Tensor]:
        """Map hidden states (B, T, C) to the style logits of all prefixes and the style weights, both (B, T, K)."""
        past = 0 if cache is None else cache.length - cache.prompted
        # The mean of projections equals the projection of the mean, and sums R numbers instead of C.
        assert self.summary is not None and self.classifier is not None, "the style is inferred"
        logits = self.classifier(self.summarize(apply(self.summary, h), cache))
        if not self.prefix:
            return logits, logits.softmax(-1).to(h.dtype)
        last = self.prefix - 1 - past  # index in this chunk of the last token of the prefix
        frozen = logits[:, last : last + 1] if 0 <= last < h.size(1) else None
        if cache is not None:
            frozen = cache.style.setdefault("frozen", frozen) if frozen is not None else cache.style.get("frozen")
        if frozen is None:
            return logits, torch.zeros_like(logits, dtype=h.dtype)
        after = torch.arange(past, past + h.size(1), device=h.device) >= self.prefix  # (T,)
        return logits, (frozen.softmax(-1) * after[:, None]).to(h.dtype)


class _Modulate(torch.autograd.Function):
    """Map x (N, C), weights (N, K) and table (K, 2C) to x + x * (weights @ gains) + weights @ shifts.

    Gains and shifts are the halves of the table. With an explicit backward pass the gain is the only tensor kept, and
    no tensor is wider than x; this is nearly the whole cost of the adapter.
    """

    @staticmethod
    def forward(ctx, x, weights, table):
        gains, shifts = table.chunk(2, dim=1)
        gain = weights @ gains  # (N, C)
        ctx.save_for_backward(x, weights, table, gain)
        return torch.addcmul(x, x, gain).addmm_(weights, shifts)  # in place, so autocast does not round it

    @staticmethod
    def backward(ctx, grad):
        x, weights, table, gain = ctx.saved_tensors
        gains, shifts = table.chunk(2, dim=1)
        by_gain = grad * x
        by_weights = torch.addmm(grad @ shifts.t(), by_gain, gains.t()) if ctx.needs_input_grad[1] else None
        by_table = torch.cat([weights.t() @ by_gain, weights.t() @ grad], dim=1)
        return torch.addcmul(grad, grad, gain), by_weights, by_table


class StyleClassifier(nn.Module):
    """Map prefix summaries (B, T, R) to float32 style logits (B, T, K).

    A layer norm comes first: hidden states are small at the start of training, and means of many states are smaller.
    """

    def __init__(self, hidden: int, styles: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, styles)

    def forward(self, z: Tensor) -> Tensor:
        """Map (B, T, R) to (B, T, K)."""
        z = self.norm(z.to(self.norm.weight.dtype))
        return apply(self.out, F.relu(apply(self.hidden, z))).float()


def one_step(x: Tensor) -> bool:
    """Return whether (B, T, C) is a step of generation."""
    return x.size(1) == 1 and not torch.is_grad_enabled()


def few_rows(x: Tensor) -> bool:
    """Return whether all layers share one product: x (B, T, C) has few positions, and no gradients are computed."""
    small = x.size(0) * x.size(1) <= MOST_SHARED and not torch.is_autocast_enabled(x.device.type)
    return one_step(x) or (small and not torch.is_grad_enabled())


def apply(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer to (B, T, in_features); in a compiled step as sums, which are fused with other loops."""
    return product_of_few_rows(x, layer.weight, layer.bias) if one_step(x) else layer(x)


class StylePass:
    """One pass of a decoder: infers the style after the source layer and modulates the output of later layers.

    Attributes:
        logits: (B, T, K) style logits, set after the source layer; None if no style was inferred.
    """

    def __init__(self, adapter: StyleAdapter, styles: Tensor | None, labels: Tensor | None, cache: Cache | None):
        self.adapter, self.styles, self.labels, self.cache = adapter, styles, labels, cache
        self.logits: Tensor | None = None
        self.shared = False  # whether one product gives the modulations of all layers
        self.modulations: dict[int, Any] = {}  # by layer

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        """Map the output (B, T, C) of a layer to the input of the next."""
        if layer == self.adapter.source:
            table = self.adapter.table(self.cache).to(x.dtype)  # first, so that the state always has the same order
            weights = self.style_weights(x)  # (B, T or 1, K)
            self.shared = few_rows(x)
            if self.shared:
                product = product_of_few_rows(weights, table.mT) if one_step(x) else weights @ table  # (B, T or 1, 2NC)
                halves = product.split(x.size(2), dim=-1)  # 2N of (B, T or 1, C)
                pairs = zip(halves[::2], halves[1::2], strict=True)
                self.modulations = dict(zip(self.adapter.layers, pairs, strict=True))  # {layer: (gain, shift)}
            else:
                self.weights = weights.expand(*x.shape[:2], -1).flatten(0, 1)  # (BT, K)
                self.modulations = self.adapter.by_layer(table)  # {layer: (K, 2C)}
        if layer not in self.modulations:
            return x
        if self.shared:
            gain, shift = self.modulations[layer]
            return torch.addcmul(x + shift, x, gain)
        return _Modulate.apply(x.flatten(0, 1), self.weights, self.modulations[layer]).view_as(x)

    def style_weights(self, h: Tensor) -> Tensor:
        """Return the style weights (B, T or 1, K), given the output (B, T, C) of the source layer."""
        adapter, batch = self.adapter, len(h)
        if self.styles is not None:
            return self.styles[:, None].to(h)
        if adapter.inference == "constant":
            weights = h.new_full((batch, 1, adapter.styles), 1 / adapter.styles)
        elif adapter.inference == "given":
            weights = self.true_styles(h)
        else:
            self.logits, weights = adapter.infer(h, self.cache)
        return self.mixed(weights, h) if adapter.training else weights

    def true_styles(self, h: Tensor) -> Tensor:
        """Return the labels as style weights (B, 1, K), zeros where unknown, of the type of ``h``."""
        if self.labels is None:
            return h.new_zeros(len(h), 1, self.adapter.styles)
        return (self.labels[:, None, None] == torch.arange(self.adapter.styles, device=h.device)).to(h.dtype)

    def mixed(self, weights: Tensor, h: Tensor) -> Tensor:
        """Choose at random, for each sequence, its inferred style, its label, or no style.

        A model trained this way can be used with any of the three.

        Args:
            weights: (B, T or 1, K), the inferred style.
            h: (B, T, C), output of the source layer.

        Returns:
            (B, T or 1, K).
        """
        adapter = self.adapter
        draw = torch.rand(len(h), 1, 1, device=h.device)
        if self.labels is not None and self.logits is not None:
            given = (draw < adapter.null_prob + adapter.true_prob) & (self.labels >= 0)[:, None, None]
            weights = torch.where(given, self.true_styles(h), weights)
        return weights * (draw >= adapter.null_prob)
