"""Beam search; see :func:`.generation.generate`.

Shapes: R unfinished texts, V tokens in the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .cache import Cache
from .constraints import Constraints
from .decoding import Stepper
from .search import Search, advance, begin, keep_rows


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
        self.logits = advance(self.stepper, self.cache, [hypothesis.tokens[-1] for hypothesis in live])
        for row, hypothesis in enumerate(live):
            hypothesis.row = row
