"""Attention patterns: the keys that a head of a kind attends to, for each token as query.

The names ending in ``_token_head`` and ``induction_head`` are those of TransformerLens where it has the pattern.

Shapes: B texts, T tokens of each.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plugins.analysis.attention.capture import sees_both_ways
from plugins.analysis.language_model import LanguageModel
from plugins.data.dictionaries import MASK

INDUCTION = "induction_head"


@dataclass
class Batch:
    """The input of patterns: texts of equal length.

    Attributes:
        ids: (B, T) tokens.
        words: (B, T) start of the word of each token, -1 for tokens outside words; see :func:`word_starts`.
        delimiters: (B, T) booleans.
        both_ways: tokens attend to later tokens, as in a masked LM.
    """

    ids: Tensor
    words: Tensor
    delimiters: Tensor
    both_ways: bool = False

    @classmethod
    def of(cls, lm: LanguageModel, ids: Tensor) -> "Batch":
        """Return the batch of texts (B, T) of a language model."""
        dictionary = lm.dictionary
        special = {*range(dictionary.nspecial), dictionary.index(MASK)}
        words, delimiters = [], []
        for row in ids:
            tokens, names = lm.tokens(row), [i in special for i in row.tolist()]
            words.append(word_starts(tokens, names))
            marks = (bool(token.strip()) and not has_letters(token) for token in tokens)
            pairs = zip(row.tolist(), marks, strict=True)
            delimiters.append([i == dictionary.eos() or (mark and i not in special) for i, mark in pairs])
        return cls(ids, torch.tensor(words), torch.tensor(delimiters), sees_both_ways(lm.model))

    def visible(self) -> Tensor:
        """Return the mask (T, T) of the keys that each query can attend to."""
        every = torch.ones(2 * self.ids.shape[1:], dtype=torch.bool, device=self.ids.device)
        return every if self.both_ways else every.tril()

    def itself(self) -> Tensor:
        """Return the mask (T, T) of the query itself."""
        return torch.eye(self.ids.size(1), dtype=torch.bool, device=self.ids.device)

    def same(self) -> Tensor:
        """Return the mask (B, T, T) of other occurrences of the query's token."""
        return (self.ids[:, :, None] == self.ids[:, None, :]) & ~self.itself()


def previous_token_head(batch: Batch) -> Tensor:
    """The token before the query."""
    return batch.itself().roll(-1, dims=1).tril(-1)[None]


def next_token_head(batch: Batch) -> Tensor:
    """The token after the query."""
    return batch.itself().roll(1, dims=1).triu(1)[None]


def current_token_head(batch: Batch) -> Tensor:
    """The query itself."""
    return batch.itself()[None]


def first_token_head(batch: Batch) -> Tensor:
    """The first token, ``<s>`` in a masked LM; it is not a query itself."""
    keys = torch.zeros_like(batch.itself())
    keys[1:, 0] = True
    return keys[None]


def duplicate_token_head(batch: Batch) -> Tensor:
    """Other occurrences of the query's token, the earlier ones for a causal head; queries without any are excluded."""
    return batch.same()


def same_token_head(batch: Batch) -> Tensor:
    """All occurrences of the query's token including itself; queries whose token occurs once are excluded."""
    same = batch.same() & batch.visible()
    return same | (batch.itself() & same.any(-1, keepdim=True))


def word_start_head(batch: Batch) -> Tensor:
    """The first token of the query's word, when it is at least two tokens before the query.

    For closer ones it is the query itself or the previous token, which are other patterns.
    """
    places = torch.arange(batch.ids.size(1), device=batch.ids.device)
    inside = (batch.words >= 0) & (places - batch.words >= 2)  # (B, T)
    return inside[..., None] & (batch.words[..., None] == places)


def induction_head(batch: Batch) -> Tensor:
    """The tokens after earlier occurrences of the query's token (Olsson et al., 2022, arXiv 2209.11895).

    Scored on repeated random sequences, where no other strategy attends to the same keys.
    """
    return batch.same().tril(-1).roll(1, dims=2)


def delimiter_head(batch: Batch) -> Tensor:
    """Punctuation and ``</s>`` (Clark et al., 2019, arXiv 1906.04341, section 3.2)."""
    return batch.delimiters[:, None, :].expand(-1, batch.ids.size(1), -1)


Pattern = Callable[[Batch], Tensor]
CAUSAL: dict[str, Pattern] = {
    function.__name__: function
    for function in (
        previous_token_head, current_token_head, first_token_head, duplicate_token_head, same_token_head,
        word_start_head,
    )
}  # fmt: skip
BOTH_WAYS: dict[str, Pattern] = CAUSAL | {function.__name__: function for function in (next_token_head, delimiter_head)}
REPEATED: dict[str, Pattern] = {INDUCTION: induction_head}


def word_starts(tokens: Sequence[str], special: Sequence[bool]) -> list[int]:
    """Return the start of the word of each token, -1 for a token outside words.

    A word is a sequence of tokens with letters, digits or combining marks; a leading space starts a new word.

    Args:
        tokens: as :meth:`plugins.analysis.language_model.LanguageModel.tokens` returns them.
        special: whether each is a special token, which is outside words.
    """
    starts, start = [], -1
    for place, (token, is_special) in enumerate(zip(tokens, special, strict=True)):
        if is_special or not has_letters(token):
            start = -1
        elif start < 0 or token[0].isspace():
            start = place
        starts.append(start)
    return starts


def has_letters(token: str) -> bool:
    """Return whether a token contains a letter, a digit or a combining mark."""
    return any(character.isalnum() or unicodedata.combining(character) for character in token)
