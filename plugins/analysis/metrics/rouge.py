"""ROUGE (Lin, 2004) as the rouge-score package computes it, for text in any script.

The package's own tokenizer keeps a to z and 0 to 9 alone, so that identical texts in another script score 0. Ours gives
the same tokens for such text, keeps letters and digits of every script, and takes each character of scripts that write
no blanks for a word. Scores are F-measures from 0 to 1; papers give them times 100.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import regex

from plugins.errors import UserError

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SETTINGS = "F-measure, Porter stemmer for English words, one sentence a line for rougeLsum"
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|[\p{L}\p{M}\p{N}]+?"
    r"(?=[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]|[^\p{L}\p{M}\p{N}]|$)"
)
_SENTENCE_END = regex.compile(r"(?<=[.!?؟।][\"'”’)]*)\s+(?=[\"'“‘(]*[\p{Lu}\p{Lo}\d])|(?<=[。！？])(?=.)")
_SAMPLES = 1000  # of the bootstrap


class Words:
    """The tokenizer, in the shape that rouge-score asks for."""

    def __init__(self, stem: bool = True):
        from nltk.stem.porter import PorterStemmer

        self.stem = functools.lru_cache(100_000)(PorterStemmer().stem) if stem else None

    def tokenize(self, text: str) -> list[str]:
        words = _WORD.findall(text.lower())
        if self.stem is None:
            return words
        return [self.stem(word) if len(word) > 3 and word.isascii() else word for word in words]


@functools.cache
def scorer(stem: bool = True):
    """Return rouge-score's scorer of :data:`KINDS`.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError("ROUGE needs the package rouge-score: pip install -e '.[summarization]'") from error
    return RougeScorer(list(KINDS), tokenizer=Words(stem))


def score(summary: str, reference: str, stem: bool = True) -> dict[str, float]:
    """Return the F-measure of each of :data:`KINDS`, from 0 to 1.

    For rougeLsum, a text's lines are its sentences; one of a single line is split at the ends of sentences.
    """
    found = scorer(stem).score(sentence_a_line(reference), sentence_a_line(summary))
    return {kind: float(found[kind].fmeasure) for kind in KINDS}


def sentence_a_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(sentences(lines[0]) if len(lines) == 1 else lines)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text: those of its lines, which end at a full stop or its like before a capital."""
    return [part for line in text.splitlines() for part in _SENTENCE_END.split(line.strip()) if part]


def mean(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each kind over texts."""
    scores = list(scores)
    return {kind: float(np.mean([entry[kind] for entry in scores])) for kind in KINDS}


def intervals(scores: Sequence[Mapping[str, float]], seed: int = 1) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each kind's mean, by 1000 bootstrap samples of the texts.

    Of differences between two systems' scores of the same texts, it is that of the difference (a paired bootstrap).
    """
    rows = np.random.default_rng(seed).integers(len(scores), size=(_SAMPLES, len(scores)))  # (samples, N)
    values = {kind: np.array([entry[kind] for entry in scores]) for kind in KINDS}
    return {kind: tuple(np.quantile(values[kind][rows].mean(1), (0.025, 0.975)).tolist()) for kind in KINDS}


def differences(scores: Sequence[Mapping[str, float]], base: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the scores of texts less those of another system for the same texts."""
    return [{kind: own[kind] - other[kind] for kind in KINDS} for own, other in zip(scores, base, strict=True)]
