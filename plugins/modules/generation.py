"""Text generation up to an end token: greedy, sampled, or by beam search.

Prompts of different lengths are continued as a batch over one key-value cache (:class:`.cache.Cache`), with the same
result as one by one. A model has three methods:

    new_cache(batch)                          -> a cache
    extract_features(tokens, cache=cache)     -> features (B, T, C) of tokens (B, T) that follow the cache's, and more
    output_layer(features)                    -> logits (..., V)

Shapes: B prompts, R unfinished texts, T tokens, V tokens in the vocabulary.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from . import sampling
from .cache import Cache
from .constraints import Constraints
from .decoding import Stepper


class Model(Protocol):
    """Interface of a model for generation; see the module's docstring."""

    def new_cache(self, batch: int) -> Cache: ...

    def extract_features(self, tokens: Tensor, *, cache: Cache) -> tuple[Tensor, Any]: ...

    def output_layer(self, features: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Search:
    """The search method.

    Attributes:
        temperature: divides the logits before a token is drawn; 0 always takes the likeliest token.
        top_k, top_p: draw from the likeliest tokens only, see :func:`.sampling.keep_likeliest`.
        beam: hypotheses per prompt; from 2 on, beam search looks for the likeliest text.
        length_penalty: beam search divides the log-probability of a text by its length to this power (Wu et al.,
            2016, without their constant 5). 0 prefers short texts; at most 10 in size, since powers would overflow.
        seed: of the random numbers.

    Raises:
        ValueError: a value is out of range, or values contradict each other.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    beam: int = 1
    length_penalty: float = 1.0
    seed: int = 1

    def __post_init__(self):
        for wrong, message in (
            (self.temperature < 0, f"a temperature of {self.temperature} is below 0"),
            (not math.isfinite(self.temperature), f"a temperature of {self.temperature} is not finite"),
            (self.top_k is not None and self.top_k < 1, f"top-k of {self.top_k} leaves no token"),
            (self.top_p is not None and not 0 < self.top_p <= 1, f"top-p of {self.top_p} is not a probability above 0"),
            (not isinstance(self.top_k, int | None), f"top-k of {self.top_k} is not a whole number"),
            (not isinstance(self.beam, int), f"a beam of {self.beam} is not a whole number"),
            (self.beam < 1, f"a beam of {self.beam} has no hypothesis"),
            (not math.isfinite(self.length_penalty), f"a length penalty of {self.length_penalty} is not finite"),
            (abs(self.length_penalty) > 10, f"a length penalty of {self.length_penalty} is not between -10 and 10"),
            (self.beam > 1 and self.temperature > 0, "beam search draws no tokens: it needs a temperature of 0"),
            (not self.temperature and (self.top_k or self.top_p), "top-k and top-p need a temperature above 0"),
        ):
            if wrong:
                raise ValueError(message)


@torch.inference_mode()
def generate(
    model: Model | Stepper,
    prompts: Sequence[Tensor],
    constraints: Constraints,
    search: Search,
    names: Sequence | None = None,
    compiled: bool | None = None,
) -> list[list[int]]:
    """Continue prompts.

    Args:
        model: see the module's docstring; or a :class:`.Stepper` of it, which compiles the steps.
        prompts: B tensors (T,) int64, T at least 1, on the model's device.
        constraints: which sequences may be generated.
        search: how.
        names: B names of the prompts, which seed their random numbers (default: their indices). The continuation of a
            prompt depends on its name, not on the other prompts.
        compiled: see :meth:`.Stepper.prepare`.

    Returns:
        B lists of tokens, without the prompt and the end token.
    """
    if not prompts:
        return []
    stepper = model if isinstance(model, Stepper) else Stepper(model)
    cache = stepper.model.new_cache(len(prompts))
    if model is stepper:
        stepper.prepare(cache, len(prompts) * search.beam, constraints.max_length, compiled)
    if search.beam > 1:
        return BeamSearch(stepper, cache, prompts, constraints, search).run()
    return draw_texts(stepper, cache, prompts, constraints, search, range(len(prompts)) if names is None else names)


def begin(model: Model, cache: Cache, prompts: Sequence[Tensor]) -> Tensor:
    """Add prompts to an empty cache and return the logits (B, V) of the next tokens."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)  # (B,)
    # Padding on the right: no token attends to it, and set_lengths removes it from the cache.
    tokens = pad_sequence(list(prompts), batch_first=True)  # (B, T)
    features = model.extract_features(tokens, cache=cache)[0]  # (B, T, C)
    cache.set_lengths(lengths + (cache.length - tokens.size(1)))  # the model may have vectors before a prompt
    last = features[torch.arange(len(prompts), device=lengths.device), lengths - 1]  # (B, C)
    if cache.rows > len(prompts):
        cache.take(torch.arange(len(prompts), device=lengths.device))
    return model.output_layer(last).float()


def go_on(stepper: Stepper, cache: Cache, tokens: Sequence[int]) -> Tensor:
    """Append a token to each of the first R rows of a cache and return the logits (R, V) of the next tokens."""
    repeated = len(cache.keys[0]) - len(tokens)  # rows at the end, see :attr:`.Cache.rows`
    step = torch.tensor([*tokens, *[tokens[0]] * repeated], device=cache.keys[0].device)[:, None]
    return stepper.next_logits(step, cache)[: len(tokens)].float()


def keep_rows(cache: Cache, rows: Sequence[int], count: int) -> None:
    """Select rows of a cache of ``count`` rows, in this order; a row may be repeated."""
    if list(rows) != list(range(count)):
        cache.take(torch.tensor(rows, device=cache.keys[0].device))


def draw_texts(
    stepper: Stepper,
    cache: Cache,
    prompts: Sequence[Tensor],
    constraints: Constraints,
    search: Search,
    names: Sequence,
) -> list[list[int]]:
    """Continue each prompt token by token until it ends, with an empty cache; see :func:`generate`."""
    texts: list[list[int]] = [[] for _ in prompts]
    numbers = [random.Random(f"{search.seed} {name}") for name in names]
    logits = begin(stepper.model, cache, prompts)
    rows = list(range(len(prompts)))  # prompts whose texts have not ended, in the order of the cache
    while rows:
        current = [texts[row] for row in rows]
        logits = constraints.mask(constraints.invite(logits, current), current)
        new = choose(logits, search, [numbers[row] for row in rows])
        again = range(len(rows))
        while again := [i for i in again if constraints.strike(logits[i], current[i], [new[i]])]:
            for i, token in zip(again, choose(logits[again], search, [numbers[rows[i]] for i in again]), strict=True):
                new[i] = token
        alive = []
        for i, (row, token) in enumerate(zip(rows, new, strict=True)):
            if token == constraints.end:
                continue
            texts[row].append(token)
            if len(texts[row]) < constraints.max_length:
                alive.append(i)
        if alive:
            keep_rows(cache, alive, len(rows))
            logits = go_on(stepper, cache, [new[i] for i in alive])
        rows = [rows[i] for i in alive]
    return texts


def choose(logits: Tensor, search: Search, numbers: Sequence[random.Random]) -> list[int]:
    """Return the next token of each row of logits (R, V)."""
    if search.temperature == 0:
        return logits.argmax(-1).tolist()
    logits = sampling.keep_likeliest(sampling.divided(logits, search.temperature), search.top_k, search.top_p)
    uniform = torch.tensor([each.random() for each in numbers], dtype=torch.float64, device=logits.device)
    return sampling.pick(logits, uniform).tolist()


@dataclass
class Hypothesis:
    """An unfinished text: its tokens, their log-probability, and its row in the cache."""

    tokens: list[int]
    score: float
    row: int


@dataclass
class Beam:
    """Hypotheses of one prompt, and the best finished text so far."""

    live: list[Hypothesis]
    best: list[int] = field(default_factory=list)
    best_score: float = -torch.inf

    def finish(self, tokens: list[int], score: float) -> None:
        """Keep a finished text if it is better than the best so far."""
        if score > self.best_score:
            self.best, self.best_score = tokens, score


class BeamSearch:
    """Beam search over several prompts at once.

    The score of a text is its log-probability, including the end token, divided by a power of its length. The search of
    a prompt ends when no unfinished text can become better than the best finished one. With forced sequences the beam
    is divided evenly between hypotheses that contain more and fewer of them (Post and Vilar, 2018); the former, which
    are less likely, would not survive otherwise.
    """

    def __init__(
        self, stepper: Stepper, cache: Cache, prompts: Sequence[Tensor], constraints: Constraints, search: Search
    ):
        self.stepper, self.cache, self.rules, self.search = stepper, cache, constraints, search
        self.logits = begin(stepper.model, cache, prompts)
        self.beams = [Beam([Hypothesis([], 0.0, row)]) for row in range(len(prompts))]

    def run(self) -> list[list[int]]:
        """Return the best text of each prompt, without the end token."""
        while live := [hypothesis for beam in self.beams for hypothesis in beam.live]:
            values, tokens = self.likeliest(live)
            for beam in self.beams:
                if beam.live:
                    self.extend(beam, values, tokens)
            self.step(len(live))
        return [beam.best for beam in self.beams]

    def likeliest(self, live: list[Hypothesis]) -> tuple[list[list[float]], list[list[int]]]:
        """Return the log-probabilities and the tokens of the continuations to consider, a list for each row."""
        texts = [hypothesis.tokens for hypothesis in live]
        scores = self.rules.mask(self.logits.log_softmax(-1), texts)  # (R, V)
        count = min(2 * self.search.beam, scores.size(-1))
        values, tokens = (part.tolist() for part in scores.topk(count))  # (R, 2 beams)
        for row, text in enumerate(texts):
            while self.rules.strike(scores[row], text, tokens[row]):
                values[row], tokens[row] = (part.tolist() for part in scores[row].topk(count))
        for row, text in enumerate(texts if self.rules.forced else ()):
            more = [token for token in self.rules.openings(text) if token not in tokens[row]]
            self.rules.strike(scores[row], text, more)
            tokens[row] += more
            values[row] += scores[row, more].tolist()
        return values, tokens

    def extend(self, beam: Beam, values: list[list[float]], tokens: list[list[int]]) -> None:
        """Replace the hypotheses of a prompt by their best continuations, from :meth:`likeliest`."""
        size = self.search.beam
        candidates = [
            Hypothesis([*old.tokens, token], old.score + value, old.row)
            for old in beam.live
            for value, token in zip(values[old.row], tokens[old.row], strict=True)
            if value > -torch.inf
        ]
        candidates.sort(key=lambda candidate: -candidate.score)
        for candidate in candidates[:size]:
            if candidate.tokens[-1] == self.rules.end:
                beam.finish(candidate.tokens[:-1], self.normalized(candidate.score, len(candidate.tokens)))
        unfinished = [candidate for candidate in candidates if candidate.tokens[-1] != self.rules.end]
        beam.live = self.share_out(unfinished) if self.rules.forced else unfinished[:size]
        length = len(beam.live[0].tokens) if beam.live else 0
        if length == self.rules.max_length:
            for old in beam.live:
                beam.finish(old.tokens, self.normalized(old.score, length))
            beam.live = []
        elif beam.live and beam.best_score >= self.attainable(max(old.score for old in beam.live), length):
            beam.live = []

    def share_out(self, candidates: list[Hypothesis]) -> list[Hypothesis]:
        """Return as many candidates as the beam has, in turn from each number of tokens still needed.

        Args:
            candidates: best first.
        """
        banks: dict[int, list[Hypothesis]] = {}
        for candidate in candidates:
            banks.setdefault(self.rules.needed(candidate.tokens), []).append(candidate)
        ranked = [(place, needed, candidate) for needed in banks for place, candidate in enumerate(banks[needed])]
        ranked.sort(key=lambda entry: entry[:2])
        return [candidate for _, _, candidate in ranked[: self.search.beam]]

    def normalized(self, score: float, length: int) -> float:
        """Return a log-probability divided by the length penalty."""
        return score / length**self.search.length_penalty

    def attainable(self, score: float, length: int) -> float:
        """Return an upper bound of the final score of an unfinished text of this log-probability and length."""
        longest = self.rules.max_length if self.search.length_penalty > 0 else length + 1
        return self.normalized(score, longest)

    def step(self, rows: int) -> None:
        """Reorder the ``rows`` rows of the cache to the hypotheses, append their last tokens, and compute logits."""
        live = [hypothesis for beam in self.beams for hypothesis in beam.live]
        if not live:
            return
        keep_rows(self.cache, [hypothesis.row for hypothesis in live], rows)
        self.logits = go_on(self.stepper, self.cache, [hypothesis.tokens[-1] for hypothesis in live])
        for row, hypothesis in enumerate(live):
            hypothesis.row = row
