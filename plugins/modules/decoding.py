"""Compiled steps of generation: the next logits of a few texts, from one token each, as a single graph.

On a CPU a step is bound by reading the weights, and by the number of calls. :class:`Stepper` compiles all layers and
the output layer with inductor, which fuses the calls and writes a product with few rows as sums that read each weight
once (:func:`.linear.sums_of_products`). The graph takes the model's own cache; the lengths of its texts may vary.

Compiling takes seconds, and fewer the next time, since inductor keeps results on disk. It is done only where the number
of steps repays it, and where a C++ compiler is installed. Other steps call the model.

Shapes: B rows of a cache, S tokens in its longest row including the new one, C channels, H heads of D channels, V words
in the vocabulary.
"""

import itertools
import logging
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .cache import Cache
from .decoder import Decoder
from .direct import DirectGraph
from .large_pages import use_large_pages
from .sampling import divided, race
from .style_adapter import StyleAdapter

logger = logging.getLogger(__name__)

MOST_ROWS = 8  # with more rows, the model's own products are as fast
MOST_SPARE = 256  # tokens for which a cache has room at once
REPAID = 3000  # steps after which compiling, of about ten seconds, has saved more time than it took
OPTIONS = {
    "cpp.enable_floating_point_contract_flag": "fast",  # fused multiply-add
    "size_asserts": False,  # of all weights in each step
}
ONE_THREAD = 1 << 23  # bytes of weights; below this, synchronizing threads takes longer than they save
ONE_THREAD_PASSIVE = 1 << 27  # the same for OMP_WAIT_POLICY=PASSIVE, where threads sleep and take longer to wake
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
        self.failed = self._moved = False
        self._graph = DirectGraph(run_layers, OPTIONS, dynamic=(1, 3))  # S of the bias
        self._last: tuple = (None, ())  # the inputs of the last step, see continues

    def prepare(self, cache: Cache, rows: int, steps: int, compiled: bool | None = None) -> None:
        """Decide whether the steps that follow a cache are compiled.

        Args:
            cache: that will have ``rows`` rows; :attr:`.Cache.rows` and :attr:`.Cache.spare` are set if they are
                compiled.
            rows: B.
            steps: how many will be taken at most.
            compiled: True and False decide; None compiles when the steps so far and these repay it.
        """
        self._graph.forget()  # the cache of an earlier text
        self._last = (None, ())
        self.steps += steps
        wanted = self.steps >= REPAID if compiled is None else compiled
        cache.rows = rows if wanted and not self.failed and self.compiles(cache, rows) else 0
        if cache.rows:  # a cache that grows is copied, and has other sizes
            cache.spare = max(cache.spare, min(steps + 1, MOST_SPARE))
        if cache.rows and not self._moved:
            weights = list(itertools.chain(self.model.decoder.parameters(), self.model.decoder.buffers()))
            use_large_pages(weights)
            if one_thread(sum(each.nbytes for each in weights)):
                self._graph.options = OPTIONS | {"cpp.threads": 1}
            self._moved = True

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
        scheme, window = decoder.transformer.positions, decoder.transformer.window
        cache.reserve(2)  # S below the room, or the graph would be specialized
        if cache.lengths is None:
            where, places = slice(cache.length, end), torch.full((len(tokens),), cache.length, device=tokens.device)
        else:
            where = cache.places(1)  # (B, 1)
            places = where[:, 0]
        bias = scheme.bias(where, end, tokens.device, True, window).expand(len(tokens), -1, -1, -1)  # (B, 1 or H, 1, S)
        angles = scheme.angles(where, end, tokens.device)
        style = [torch.as_tensor(value) for value in cache.style.values()]
        numbers = (None, None) if cache.race is None else (cache.race.arrivals, cache.race.temperature)
        varying: list[Any] = [tokens, bias, angles, places, styles, *numbers, *style]
        if self.continues(cache, styles, style):
            logits, *results = self._graph.again([each if each is None else each.contiguous() for each in varying])
        else:  # equal strides, on which guards depend, also of dimensions of size 1
            varying = [each if each is None else each.clone(memory_format=torch.contiguous_format) for each in varying]
            self.mark(varying[1], cache)
            scheme.embed(decoder.transformer.look_up(tokens), where, cache.capacity)  # makes its table, if any
            constants = decoder, cache.keys, cache.values, cache.capacity, tuple(cache.style)
            logits, *results = self._graph(constants, varying)
        if numbers[0] is not None:
            cache.race.result, results = results[:2], results[2:]
        cache.style.update(zip(CHANGED, results, strict=False))  # none, or both
        cache.advance(1)
        return logits

    def continues(self, cache: Cache, styles: Tensor | None, style: Sequence[Tensor]) -> bool:
        """Return whether the last step had the same tensors of the cache, and other inputs of the same kind.

        They then differ in S and in numbers only, and the guards of the graph are not needed.
        """
        keys, kind = self._last
        shapes = [(each.shape, each.dtype) for each in (styles, *style) if each is not None]
        races = cache.race is not None and cache.race.arrivals is not None
        self._last = cache.keys[0], (cache.lengths is None, styles is None, races, tuple(cache.style), shapes)
        return keys is cache.keys[0] and kind == self._last[1]

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


def one_thread(weights: int) -> bool:
    """Return whether a step that reads ``weights`` bytes of weights is compiled for one thread."""
    passive = os.environ.get("OMP_WAIT_POLICY", "").strip().upper() == "PASSIVE"
    return weights < (ONE_THREAD_PASSIVE if passive else ONE_THREAD)


def run_layers(
    constants: tuple,
    tokens: Tensor,
    bias: Tensor,
    angles: Tensor | None,
    places: Tensor,
    styles: Tensor | None,
    arrivals: Tensor | None,
    temperature: Tensor | None,
    *style: Tensor,
) -> list[Tensor]:
    """Return the logits (B, V) after tokens (B, 1); if given arrivals, the result of a race; the changed style state.

    The cache gets the tokens.

    Args:
        constants: the decoder, see :class:`Stepper`; keys and values, see :class:`StepState`; the capacity of the
            cache; names of ``style``.
        styles: (B, K) style weights, or None.
        arrivals, temperature: see :class:`.Race`; or None.
        bias, angles, places, style: see :class:`StepState`.
    """
    decoder, keys, values, capacity, names = constants
    transformer: Any = decoder.transformer
    adapter: Any = getattr(decoder, "style", None)
    state = StepState(transformer.positions, angles, bias, places, keys, values, dict(zip(names, style, strict=True)))
    after_layer = None if adapter is None else adapter.begin(styles, None, state)
    x = transformer.embed(tokens, places[:, None], capacity)  # (B, 1, C)
    for layer, block in enumerate(transformer.h):
        x = block(x, state, layer, state)
        if after_layer is not None:
            x = after_layer(layer, x)
    logits = decoder.output_layer(transformer.ln_f(x))[:, -1]
    drawn = () if arrivals is None else race(divided(logits, temperature), arrivals)  # type: ignore[arg-type]
    return [logits, *drawn, *(state.style[name] for name in CHANGED if name in state.style)]


def first_line(error: BaseException) -> str:
    """Return the type and the first line of the message of an error."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
