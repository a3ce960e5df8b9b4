"""ROUGE (Lin, 2004) as the rouge-score package computes it, for text in any script.

The package's own tokenizer keeps only a to z and 0 to 9, so identical texts in another script score 0. This tokenizer
gives the same tokens for English text, keeps letters and digits of every script, and treats each character of scripts
without blanks as a word. Texts are first normalized to Unicode's NFC form, and soft hyphens and zero-width characters
are removed, so that equal texts in two encodings score 1. Scores are F-measures from 0 to 1; papers give percentages.
"""

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import regex

from plugins.analysis.metrics import subsequence
from plugins.errors import UserError

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SETTINGS = "F-measure, text in NFC, Porter stemmer for English words, one sentence per line for rougeLsum"
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|[\p{L}\p{M}\p{N}]+?"
    r"(?=[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]|[^\p{L}\p{M}\p{N}]|$)"
)
_SENTENCE_END = regex.compile(r"(?=\s)(?<=[.!?؟।][\"'”’)]*)\s+(?=[\"'“‘(]*[\p{Lu}\p{Lo}\d])|(?<=[。！？])(?=.)")
# Invisible inside a word: soft hyphen, joiners, marks and embeddings of the direction, variation selectors, invisible
# operators, byte-order mark. Other format characters (category Cf) are visible, as Arabic number signs are.
_INVISIBLE = regex.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
    "\U000e0100-\U000e01ef]"
)
_SAMPLES = 1000  # bootstrap resamples


class WordTokenizer:
    """A tokenizer with rouge-score's interface."""

    def __init__(self, stem: bool = True):
        from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]  # it has neither types nor stubs

        self.stem = functools.lru_cache(100_000)(PorterStemmer().stem) if stem else None

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text in lower case; English words of more than three letters are stemmed."""
        words = _WORD.findall(normalized(text).lower())
        if self.stem is None:
            return words
        return [self.stem(word) if len(word) > 3 and word.isascii() else word for word in words]


def normalized(text: str) -> str:
    """Return a text in Unicode's NFC form, without characters that are invisible inside a word."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


@functools.cache
def scorer(stem: bool = True) -> Any:
    """Return rouge-score's scorer of n-grams.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError("ROUGE needs the package rouge-score: pip install -e '.[summarization]'") from error
    return RougeScorer(list(KINDS[:2]), tokenizer=words(stem))


@functools.cache
def words(stem: bool = True) -> WordTokenizer:
    """Return the tokenizer."""
    return WordTokenizer(stem)


def score(summary: str, reference: str, stem: bool = True) -> dict[str, float]:
    """Return the F-measure of each of :data:`KINDS`, from 0 to 1.

    For rougeLsum, a text's lines are its sentences; one of a single line is split at the ends of sentences.
    """
    found = scorer(stem).score(reference, summary)
    tokenize = words(stem).tokenize
    ours, theirs = tokenize(summary), tokenize(reference)
    return {kind: float(found[kind].fmeasure) for kind in KINDS[:2]} | {
        "rougeL": f_measure(subsequence.length(theirs, ours), len(ours), len(theirs)),
        "rougeLsum": summary_level(*(list(map(tokenize, lines_of(text))) for text in (summary, reference))),
    }


def summary_level(summary: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]) -> float:
    """Return rougeLsum of sentences of words: the union of each reference sentence's matches (Lin, 2004, section 3.2).

    As in ROUGE 1.5.5 and rouge-score, a word counts as often as both texts have it. Takes a time that grows with the
    product of the two numbers of sentences.
    """
    left = Counter(word for sentence in summary for word in sentence)
    left &= Counter(word for sentence in reference for word in sentence)
    hits = 0
    for sentence in reference:
        union: set[int] = set()
        for other in summary:
            if len(union) < len(sentence) and not set(sentence).isdisjoint(other):
                union.update(subsequence.indices(sentence, other))
        for i in sorted(union):
            hits += left[sentence[i]] > 0
            left[sentence[i]] -= 1
    return f_measure(hits, sum(map(len, summary)), sum(map(len, reference)))


def f_measure(hits: int, predicted: int, wanted: int) -> float:
    """Return the harmonic mean of precision and recall; 0 where one of them is."""
    return 2 * hits / (predicted + wanted) if hits else 0.0


def lines_of(text: str) -> list[str]:
    """Return the sentences of a text for rougeLsum: its lines, or the sentences of its only line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return sentences(lines[0]) if len(lines) == 1 else lines


def sentences(text: str) -> list[str]:
    """Return the sentences of a text: each ends with its line, or at a full stop or the like before a capital."""
    return [part for line in text.splitlines() for part in _SENTENCE_END.split(line.strip()) if part]


def mean(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each kind over texts."""
    scores = list(scores)
    return {kind: float(np.mean([entry[kind] for entry in scores])) for kind in KINDS}


def intervals(scores: Sequence[Mapping[str, float]], seed: int = 1) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each kind's mean, by 1000 bootstrap samples of the texts.

    For the differences between two systems' scores of the same texts this is a paired bootstrap.
    """
    rows = np.random.default_rng(seed).integers(len(scores), size=(_SAMPLES, len(scores)))  # (samples, N)
    values = {kind: np.array([entry[kind] for entry in scores]) for kind in KINDS}
    return {kind: tuple(np.quantile(values[kind][rows].mean(1), (0.025, 0.975)).tolist()) for kind in KINDS}


def differences(scores: Sequence[Mapping[str, float]], base: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the scores of texts minus those of another system for the same texts."""
    return [{kind: own[kind] - other[kind] for kind in KINDS} for own, other in zip(scores, base, strict=True)]
