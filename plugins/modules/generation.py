"""Texts from a language model that end by themselves: greedy, sampled, or found by beam search.

Prompts of different lengths are continued side by side, each as if it were alone, over one key-value cache
(:class:`.cache.Cache`). The model is anything that has

    new_cache(batch)                          -> a cache
    extract_features(tokens, cache=cache)     -> features (B, T, C) of tokens (B, T) that follow the cache's, and more
    output_layer(features)                    -> logits (..., V)

Shapes: B prompts, R texts in the making, T tokens, V kinds of tokens.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from . import sampling
from .constraints import Constraints


@dataclass(frozen=True)
class Search:
    """How texts are looked for.

    Attributes:
        temperature: 0 takes the likeliest token always; else what logits are divided by before tokens are drawn.
        top_k, top_p: draw from the likeliest tokens only, see :func:`.sampling.keep_likeliest`.
        beam: hypotheses a prompt; from 2 on, the likeliest whole text is looked for by beam search.
        length_penalty: beam search divides the log-probability of a text by its length to this power (Wu et al.,
            2016, without their constant 5); 0 prefers short texts, and beyond 10 powers leave the range of numbers.
        seed: of the random numbers.

    Raises:
        ValueError: they make no sense.
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
            (not math.isfinite(self.temperature), f"a temperature of {self.temperature} is no number"),
            (self.top_k is not None and self.top_k < 1, f"top-k of {self.top_k} leaves no token"),
            (self.top_p is not None and not 0 < self.top_p <= 1, f"top-p of {self.top_p} is no probability above 0"),
            (not isinstance(self.top_k, int | None), f"top-k of {self.top_k} is no whole number"),
            (not isinstance(self.beam, int), f"a beam of {self.beam} is no whole number"),
            (self.beam < 1, f"a beam of {self.beam} holds no text"),
            (not math.isfinite(self.length_penalty), f"a length penalty of {self.length_penalty} is no number"),
            (abs(self.length_penalty) > 10, f"a length penalty of {self.length_penalty} is not between -10 and 10"),
            (self.beam > 1 and self.temperature > 0, "beam search draws nothing: it takes no temperature"),
            (not self.temperature and (self.top_k or self.top_p), "top-k and top-p want a temperature above 0"),
        ):
            if wrong:
                raise ValueError(message)


@torch.inference_mode()
def generate(
    model, prompts: Sequence[Tensor], constraints: Constraints, search: Search, names: Sequence | None = None
) -> list[list[int]]:
    """Continue prompts.

    Args:
        prompts: B of (T,) int64, T at least 1, on the model's device.
        names: B names of the prompts, which seed their random numbers (their places in the list). A prompt with the
            same name gets the same continuation in any company.

    Returns:
        B lists of tokens, without the prompt and the end token.
    """
    if not prompts:
        return []
    if search.beam > 1:
        return BeamSearch(model, prompts, constraints, search).run()
    return draw_texts(model, prompts, constraints, search, range(len(prompts)) if names is None else names)


def begin(model, prompts: Sequence[Tensor]) -> tuple[object, Tensor]:
    """Return a cache that holds the prompts, and the logits (B, V) of what follows them."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)  # (B,)
    # Padding on the right: nothing before it sees it, and the cache forgets it.
    tokens = pad_sequence(list(prompts), batch_first=True)  # (B, T)
    cache = model.new_cache(len(prompts))
    features = model.extract_features(tokens, cache=cache)[0]  # (B, T, C)
    cache.set_lengths(lengths + (cache.length - tokens.size(1)))  # the model may have put something before a prompt
    last = features[torch.arange(len(prompts), device=lengths.device), lengths - 1]  # (B, C)
    return cache, model.output_layer(last).float()


def go_on(model, cache, tokens: Sequence[int]) -> Tensor:
    """Add a token to each row of a cache and return the logits (R, V) of what follows."""
    step = torch.tensor(tokens, device=cache.keys[0].device)[:, None]  # (R, 1)
    return model.output_layer(model.extract_features(step, cache=cache)[0][:, -1]).float()


def keep_rows(cache, rows: Sequence[int], count: int) -> None:
    """Reduce a cache of ``count`` rows to some of them, or set them in another order."""
    if list(rows) != list(range(count)):
        cache.take(torch.tensor(rows, device=cache.keys[0].device))


def draw_texts(model, prompts, constraints, search, names) -> list[list[int]]:
    """Extend each prompt token by token until it ends."""
    texts = [[] for _ in prompts]
    numbers = [random.Random(f"{search.seed} {name}") for name in names]
    cache, logits = begin(model, prompts)
    rows = list(range(len(prompts)))  # the prompts whose texts go on, in the order of the cache
    while rows:
        held = [texts[row] for row in rows]
        logits = constraints.mask(constraints.invite(logits, held), held)
        new = choose(logits, search, [numbers[row] for row in rows])
        alive = []
        for i, (row, token) in enumerate(zip(rows, new, strict=True)):
            if token == constraints.end:
                continue
            texts[row].append(token)
            if len(texts[row]) < constraints.max_length:
                alive.append(i)
        if alive:
            keep_rows(cache, alive, len(rows))
            logits = go_on(model, cache, [new[i] for i in alive])
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
    """A text in the making: its tokens, their log-probability, and its row in the cache."""

    tokens: list[int]
    score: float
    row: int


@dataclass
class Beam:
    """The hypotheses of one prompt, and the best text so far that has ended."""

    live: list[Hypothesis]
    best: list[int] = field(default_factory=list)
    best_score: float = -torch.inf

    def finish(self, tokens: list[int], score: float) -> None:
        if score > self.best_score:
            self.best, self.best_score = tokens, score


class BeamSearch:
    """Beam search over several prompts at once.

    The score of a text is its log-probability, end token included, divided by a power of its length. A search ends
    when no text in the making can still beat the best one. Where sequences are forced, the beam is shared out evenly
    between hypotheses that hold more and less of them (Post and Vilar, 2018), or those that do would not survive.
    """

    def __init__(self, model, prompts, constraints: Constraints, search: Search):
        self.model, self.rules, self.search = model, constraints, search
        self.cache, self.logits = begin(model, prompts)
        self.beams = [Beam([Hypothesis([], 0.0, row)]) for row in range(len(prompts))]

    def run(self) -> list[list[int]]:
        while live := [hypothesis for beam in self.beams for hypothesis in beam.live]:
            values, tokens = self.likeliest(live)
            for beam in self.beams:
                if beam.live:
                    self.extend(beam, values, tokens)
            self.step(len(live))
        return [beam.best for beam in self.beams]

    def likeliest(self, live):
        """Return for each row the log-probabilities and the tokens of the continuations to look at: two lists."""
        texts = [hypothesis.tokens for hypothesis in live]
        scores = self.rules.mask(self.logits.log_softmax(-1), texts)  # (R, V)
        values, tokens = scores.topk(min(2 * self.search.beam, scores.size(-1)))  # (R, 2 beams)
        values, tokens = values.tolist(), tokens.tolist()
        for row, text in enumerate(texts if self.rules.forced else ()):
            more = [token for token in self.rules.openings(text) if token not in tokens[row]]
            tokens[row] += more
            values[row] += scores[row, more].tolist()
        return values, tokens

    def extend(self, beam: Beam, values, tokens) -> None:
        """Replace the hypotheses of a prompt by their best continuations."""
        size = self.search.beam
        candidates = [
            Hypothesis([*held.tokens, token], held.score + value, held.row)
            for held in beam.live
            for value, token in zip(values[held.row], tokens[held.row], strict=True)
            if value > -torch.inf
        ]
        candidates.sort(key=lambda candidate: -candidate.score)
        for candidate in candidates[:size]:
            if candidate.tokens[-1] == self.rules.end:
                beam.finish(candidate.tokens[:-1], self.normalized(candidate.score, len(candidate.tokens)))
        going = [candidate for candidate in candidates if candidate.tokens[-1] != self.rules.end]
        beam.live = self.share_out(going) if self.rules.forced else going[:size]
        length = len(beam.live[0].tokens) if beam.live else 0
        if length == self.rules.max_length:
            for held in beam.live:
                beam.finish(held.tokens, self.normalized(held.score, length))
            beam.live = []
        elif beam.live and beam.best_score >= self.attainable(max(held.score for held in beam.live), length):
            beam.live = []

    def share_out(self, candidates):
        """Return as many candidates as the beam holds, in turn from those that need most and least to be complete."""
        banks = {}
        for candidate in candidates:
            banks.setdefault(self.rules.needed(candidate.tokens), []).append(candidate)
        ranked = [(place, needed, candidate) for needed in banks for place, candidate in enumerate(banks[needed])]
        ranked.sort(key=lambda entry: entry[:2])
        return [candidate for _, _, candidate in ranked[: self.search.beam]]

    def normalized(self, score: float, length: int) -> float:
        return score / length**self.search.length_penalty

    def attainable(self, score: float, length: int) -> float:
        """Return a bound of what a text in the making, of this score and length, can come to."""
        longest = self.rules.max_length if self.search.length_penalty > 0 else length + 1
        return self.normalized(score, longest)

    def step(self, rows: int) -> None:
        """Let the cache follow the hypotheses, and look one token further."""
        live = [hypothesis for beam in self.beams for hypothesis in beam.live]
        if not live:
            return
        keep_rows(self.cache, [hypothesis.row for hypothesis in live], rows)
        self.logits = go_on(self.model, self.cache, [hypothesis.tokens[-1] for hypothesis in live])
        for row, hypothesis in enumerate(live):
            hypothesis.row = row
