"""Constraints on generated text: lengths, repeated n-grams, forced and forbidden sequences of tokens.

They apply to generated tokens only, not to the prompt.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Tokens = tuple[int, ...]
LEAST = -1e4  # the logit of the end where all other tokens are excluded: finite, so that it can be chosen


@dataclass(frozen=True)
class Constraints:
    """Which sequences of tokens may be generated.

    Attributes:
        end: the token that ends a sequence.
        max_length: maximum number of tokens, without the end token.
        min_length: minimum number of tokens, without the end token.
        no_repeat_ngram: n-grams of this length occur at most once; 0 for no such rule.
        forbidden: sequences of tokens that do not occur.
        forced: groups of sequences; at least one sequence of each group occurs. The spellings of a word are a group.
        breaks: returns whether a sequence of tokens spells a forbidden text. Many sequences can spell the same text,
            so this is checked for the tokens that are chosen, see :meth:`strike`.

    Raises:
        ValueError: a value is out of range, or the constraints contradict each other.
    """

    end: int
    max_length: int
    min_length: int = 0
    no_repeat_ngram: int = 0
    forbidden: tuple[Tokens, ...] = ()
    forced: tuple[tuple[Tokens, ...], ...] = ()
    breaks: Callable[[Sequence[int]], bool] | None = None

    def __post_init__(self):
        if self.max_length < 1:
            raise ValueError(f"a maximum length of {self.max_length} leaves no text")
        if self.no_repeat_ngram < 0 or not isinstance(self.no_repeat_ngram, int):
            raise ValueError(f"n-grams of {self.no_repeat_ngram} tokens: a whole number is needed, 0 for no rule")
        if not 0 <= self.min_length <= self.max_length:
            raise ValueError(f"a minimum length of {self.min_length} with a maximum of {self.max_length} is impossible")
        if any(not words for words in (*self.forbidden, *(way for group in self.forced for way in group))):
            raise ValueError("a forced or forbidden sequence is empty")
        room = sum(min(map(len, group)) for group in self.forced)
        if room > self.max_length:
            raise ValueError(f"the forced sequences have {room} tokens, more than {self.max_length}")
        for group in self.forced:
            if all(self.forbids(way) for way in group):
                raise ValueError(f"the sequence {list(group[0])} is both forced and forbidden")

    def forbids(self, tokens: Sequence[int]) -> bool:
        """Return whether a sequence contains a forbidden one or spells a forbidden text."""
        return any(contains(tokens, words) for words in self.forbidden) or self.spells(tokens)

    def spells(self, tokens: Sequence[int]) -> bool:
        """Return whether a sequence spells a forbidden text; an end token spells nothing."""
        return self.breaks is not None and tokens[-1] != self.end and self.breaks(tokens)

    def strike(self, logits: Tensor, tokens: Sequence[int], chosen: Sequence[int]) -> bool:
        """Exclude chosen tokens that would complete a forbidden text, so that the caller chooses again.

        Args:
            logits: (V,) masked, changed in place; where nothing is left, the text may end.
            tokens: the text so far.
            chosen: candidates for the next token.

        Returns:
            True if a token was excluded.
        """
        if self.breaks is None:
            return False
        struck = [token for token in chosen if not logits[token].isneginf() and self.spells([*tokens, token])]
        if struck:
            logits[struck] = -torch.inf
            if logits.isneginf().all():
                logits[self.end] = LEAST
        return bool(struck)

    def banned(self, tokens: Sequence[int]) -> set[int]:
        """Return the tokens that would violate a constraint after ``tokens``, except forced sequences."""
        banned = self.forbidden_after(tokens) | self.repeating(tokens)
        return banned | {self.end} if len(tokens) < self.min_length else banned

    def forbidden_after(self, tokens: Sequence[int]) -> set[int]:
        """Return the tokens that would complete a forbidden sequence."""
        return {words[-1] for words in self.forbidden if ends_with(tokens, words[:-1])}

    def repeating(self, tokens: Sequence[int]) -> set[int]:
        """Return the tokens that would complete an n-gram that has occurred already."""
        n, size = self.no_repeat_ngram, len(tokens)
        last = tuple(tokens[size - n + 1 :]) if n > 1 else ()
        places = range(size - n + 1) if n else ()
        return {tokens[i + n - 1] for i in places if tuple(tokens[i : i + n - 1]) == last}

    def missing(self, tokens: Sequence[int]) -> list[tuple[Tokens, ...]]:
        """Return the forced groups of which no sequence occurs in a text."""
        return [group for group in self.forced if not any(contains(tokens, way) for way in group)]

    def needed(self, tokens: Sequence[int]) -> int:
        """Return the minimum number of tokens that complete the forced groups of a text."""
        missing = self.missing(tokens)
        whole = [min(map(len, group)) for group in missing]
        rest = [min(len(way) - begun_of(tokens, way) for way in group) for group in missing]
        # A text can end in the beginning of several sequences, but only one of them can be continued.
        return sum(whole) - max((w - r for w, r in zip(whole, rest, strict=True)), default=0)

    def openings(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens that begin or continue a missing sequence, in ascending order."""
        ways = [way for group in self.missing(tokens) for way in group]
        return sorted({way[0] for way in ways} | {way[begun_of(tokens, way)] for way in ways})

    def mask(self, logits: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return logits (B, V) with minus infinity for the tokens that must not follow each of B texts.

        A text may end if the constraints leave no token, for example when each would repeat an n-gram.
        """
        places = [(row, token) for row, tokens in enumerate(texts) for token in self.banned(tokens)]
        if not places and not self.forced:
            return logits
        masked = logits.clone()
        if places:
            rows, columns = torch.tensor(places, device=logits.device).T
            masked[rows, columns] = -torch.inf
        for row, tokens in enumerate(texts if self.forced else ()):
            self._force(masked[row], logits[row], tokens)
        stuck = masked.amax(-1).isneginf()  # (B,)
        masked[:, self.end] = torch.where(stuck, logits[:, self.end], masked[:, self.end])
        return masked

    def _force(self, masked: Tensor, logits: Tensor, tokens: Sequence[int]) -> None:
        """Mask logits (V,) in place, so that missing sequences can still be completed; the end token excludes that.

        If there is room for nothing else, missing sequences may repeat an n-gram.
        """
        missing = self.missing(tokens)
        if not missing:
            return
        masked[self.end] = -torch.inf
        room = self.max_length - len(tokens) - 1
        if sum(min(map(len, group)) for group in missing) > room:
            masked.fill_(-torch.inf)
            forbidden = self.forbidden_after(tokens)
            for token in self.openings(tokens):
                if token not in forbidden and self.needed([*tokens, token]) <= room:
                    masked[token] = logits[token]

    def invite(self, logits: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
        """Add the probability of the end token to the tokens that begin missing sequences: (B, V) to (B, V).

        The end token is forbidden while sequences are missing. A model writes them where they are likely, or at the
        latest where it would stop.
        """
        if not self.forced:
            return logits
        logits = logits.clone()
        for row, tokens in enumerate(texts):
            openings = self.openings(tokens)
            if openings:
                share = logits[row, self.end] - math.log(len(openings))
                logits[row, openings] = torch.logaddexp(logits[row, openings], share)
        return logits


def ends_with(tokens: Sequence[int], words: Tokens) -> bool:
    """Return whether a text ends in a sequence."""
    return not words or tuple(tokens[-len(words) :]) == words


def contains(tokens: Sequence[int], words: Tokens) -> bool:
    """Return whether a sequence occurs in a text."""
    return any(tuple(tokens[i : i + len(words)]) == words for i in range(len(tokens) - len(words) + 1))


def begun_of(tokens: Sequence[int], words: Tokens) -> int:
    """Return the length of the longest proper prefix of ``words`` that the text ends in."""
    return next(count for count in range(len(words) - 1, -1, -1) if ends_with(tokens, words[:count]))
