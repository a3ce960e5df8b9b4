"""Compiled steps of generation: the next logits of a few texts, from one token each, as a single graph.

On a CPU a step is bound by reading the weights, and by the number of calls. :class:`Stepper` compiles all layers and
the output layer with inductor, which fuses the calls and writes a product with few rows as sums that read each weight
once (:func:`.linear.sums_of_products`). The graph takes the model's own cache; the lengths of its texts may vary.

Compiling takes seconds, and fewer the next time, since inductor keeps results on disk. It is done only where the number
of steps repays it, and where a C++ compiler is installed. Other steps call the model.

Shapes: B rows of a cache, S tokens in its longest row including the new one, C channels, H heads of D channels, V words
in the vocabulary.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .cache import Cache
from .decoder import Decoder
from .direct import DirectGraph
from .placement import Placement
from .style_adapter import StyleAdapter

logger = logging.getLogger(__name__)

MOST_ROWS = 8  # with more rows, the model's own products are as fast
REPAID = 3000  # steps after which compiling, of about ten seconds, has saved more time than it took
OPTIONS = {"cpp.enable_floating_point_contract_flag": "fast"}  # fused multiply-add
CHANGED = ("sum", "count")  # names of the state of a style adapter that a step changes


class Stepper:
    """The next logits of a model, by compiled steps where they are faster.

    Args:
        model: of :mod:`.generation`. Steps are compiled if its ``decoder`` has a ``transformer`` (:class:`.Decoder`),
            an ``output_layer``, and possibly a ``style`` between the layers (:class:`.StyleAdapter`).
    """

    def __init__(self, model: Any):
        self.model = model
        self.steps = 0  # for which caches were prepared
        self.failed = False
        self._graph = DirectGraph(run_layers, OPTIONS, dynamic=(1, 3))  # S of the bias
        self._last: tuple = (None, 0)  # the inputs of the last step, see continues
        self._checked = 0  # consecutive steps with such inputs

    def prepare(self, cache: Cache, rows: int, steps: int, compiled: bool | None = None) -> None:
        """Decide whether the steps that follow a cache are compiled.

        Args:
            cache: that will have ``rows`` rows; :attr:`.Cache.rows` is set if they are compiled.
            rows: B.
            steps: how many will be taken at most.
            compiled: True and False decide; None compiles when the steps so far and these repay it.
        """
        self._graph.forget()  # the cache of an earlier text
        self._last = (None, 0)
        self.steps += steps
        wanted = self.steps >= REPAID if compiled is None else compiled
        cache.rows = rows if wanted and not self.failed and self.compiles(cache, rows) else 0

    def compiles(self, cache: Cache, rows: int) -> bool:
        """Return whether steps of this model and this number of rows can be compiled."""
        decoder = getattr(self.model, "decoder", None)
        adapter = getattr(decoder, "style", None)
        return (
            type(getattr(decoder, "transformer", None)) is Decoder
            and (adapter is None or (type(adapter) is StyleAdapter and not adapter.prefix))
            and cache.window is None
            and cache.keys[0].device.type == "cpu"
            and rows <= MOST_ROWS
        )

    def next_logits(self, tokens: Tensor, cache: Cache | None, **inputs: Any) -> Tensor:
        """Append tokens (B, T) to a cache and return the logits (B, V) of the next ones.

        Args:
            inputs: additional inputs of the model; a compiled step takes ``styles``.
        """
        if cache is not None and tokens.shape == (cache.rows, 1) and 0 < cache.length < cache.capacity:
            try:
                return self.step(tokens, cache, **inputs)
            except Exception as error:  # from dynamo, inductor or the C++ compiler; no state has changed
                self.failed, cache.rows = True, 0
                logger.warning("not compiled, so generation is slower: %s", first_line(error))
        return self.model.output_layer(self.model.extract_features(tokens, cache=cache, **inputs)[0][:, -1])

    def step(self, tokens: Tensor, cache: Cache, styles: Tensor | None = None) -> Tensor:
        """Return the logits (B, V) after tokens (B, 1), by the compiled graph."""
        decoder, end = self.model.decoder, cache.length + 1
        transformer: Decoder = decoder.transformer
        cache.reserve(2)  # S below the room, or the graph would be specialized
        where = slice(cache.length, end) if cache.lengths is None else cache.places(1)
        x = transformer.embed(tokens, where, end)  # (B, 1, C)
        placement = Placement(transformer.positions, where, end, x.device, True, window=transformer.window)
        bias = placement.bias()  # (1 or B, 1 or H, 1, S)
        assert bias is not None, "it is explicit"
        bias = bias.expand(len(x), -1, -1, -1).clone(memory_format=torch.contiguous_format)
        if isinstance(where, slice):
            places = torch.full((len(x),), cache.length, device=x.device)  # (B,)
        else:
            places = where[:, 0]
        style = {name: torch.as_tensor(value) for name, value in cache.style.items()}
        varying = [x, bias, placement.key_angles, places, styles, *style.values()]
        if self.continues(cache, styles):
            logits, *changed = self._graph.again(varying)
        else:
            self.mark(bias, cache)
            # A slice has other strides than the result of a step, and would be compiled for itself.
            varying[5:] = [value.clone(memory_format=torch.contiguous_format) for value in style.values()]
            logits, *changed = self._graph((decoder, cache.keys, cache.values, tuple(style)), varying)
        cache.style.update(zip(CHANGED, changed, strict=False))  # none, or both
        cache.advance(1)
        return logits

    def continues(self, cache: Cache, styles: Tensor | None) -> bool:
        """Return whether the guards of the graph passed for inputs that differ from these in S and in numbers only.

        They are not needed then. They are in the first two steps of a cache. With a style adapter, they are in the
        first two steps after each prompt, since the state of a style comes from the model in the first of them, and
        from the graph later.
        """
        before, self._last = self._last, (cache.keys[0], cache.length, cache.lengths is None, styles is None)
        next_ = before[1] + 1 == cache.length or not cache.style
        same = before[0] is self._last[0] and next_ and before[2:] == self._last[2:]
        self._checked = self._checked + 1 if same else 0
        return self._checked > 1

    def mark(self, bias: Tensor, cache: Cache) -> None:
        """Mark lengths as dynamic. Loops are parallel or not by the size that inductor expects, a full cache."""
        torch._dynamo.mark_dynamic(bias, 3, hint_override=cache.capacity)
        for tensor in (*cache.keys, *cache.values):
            torch._dynamo.mark_dynamic(tensor, 2, hint_override=cache.capacity + 1)


class StepState:
    """The parts of a placement and a cache that layers use, for one new token in each row.

    Args:
        scheme: the positional scheme.
        angles: returned by :meth:`.Positions.angles`, for the new tokens.
        bias: (B, 1 or H, 1, S).
        places: (B,) positions of the new tokens in the tensors of the cache.
        keys, values: keys and values of the cache, (B, H, at least S, D) for each layer.
        style: the state of a style adapter.
    """

    kernel_bias = None  # see :class:`.Placement`

    def __init__(
        self,
        scheme: Any,
        angles: Tensor | None,
        bias: Tensor,
        places: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        style: dict[str, Tensor],
    ):
        self.scheme, self.angles, self._bias, self.places = scheme, angles, bias, places
        self.keys, self.values, self.style = keys, values, style
        self.length = self.prompted = 0  # for adapters that freeze a style, which are not compiled

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`.Placement.rotate`."""
        return self.scheme.rotate(q, self.angles), self.scheme.rotate(k, self.angles)

    def bias(self) -> Tensor:
        """See :meth:`.Placement.bias`."""
        return self._bias

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values (B, H, 1, D) and return those of all tokens, (B, H, S, D)."""
        rows = torch.arange(len(k), device=k.device)
        stored = []
        for tensor, new in ((self.keys[layer], k), (self.values[layer], v)):
            tensor[rows, :, self.places] = new[:, :, 0].to(tensor.dtype)
            stored.append(tensor[:, :, : self._bias.size(-1)])
        return stored[0], stored[1]


def run_layers(
    constants: tuple,
    x: Tensor,
    bias: Tensor,
    angles: Tensor | None,
    places: Tensor,
    styles: Tensor | None,
    *style: Tensor,
) -> list[Tensor]:
    """Return the logits (B, V) of embedded tokens (B, 1, C) and the :data:`CHANGED` state of the style, if any.

    The cache gets the tokens.

    Args:
        constants: the decoder, see :class:`Stepper`; keys and values, see :class:`StepState`; names of ``style``.
        styles: (B, K) style weights, or None.
        bias, angles, places, style: see :class:`StepState`.
    """
    decoder, keys, values, names = constants
    transformer: Any = decoder.transformer
    adapter: Any = getattr(decoder, "style", None)
    state = StepState(transformer.positions, angles, bias, places, keys, values, dict(zip(names, style, strict=True)))
    after_layer = None if adapter is None else adapter.begin(styles, None, state)
    for layer, block in enumerate(transformer.h):
        x = block(x, state, layer, state)
        if after_layer is not None:
            x = after_layer(layer, x)
    logits = decoder.output_layer(transformer.ln_f(x))[:, -1]
    return [logits, *(state.style[name] for name in CHANGED if name in state.style)]


def first_line(error: BaseException) -> str:
    """Return the type and the first line of the message of an error."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
