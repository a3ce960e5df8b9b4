"""Classifiers of style that are independent of the language model: the judges of its text.

There are two families, so that the bias of one family is not mistaken for style: a linear support vector machine on
TF-IDF of character n-grams (discriminative), and multinomial naive Bayes on the same features (generative; as accurate
here as a small neural network, in seconds on a CPU).

Both can answer "none". In addition to the styles they learn text without style, made from the same training text:
random letters, its characters in random order (the right letters, no words), and mixtures, in which stretches of
several styles alternate. Without this class, every text would have a style, and random letters a perfectly consistent
one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from plugins.errors import UserError

NONE = -1  # the label of text that has none of the styles
LENGTHS = (50, 100, 200, 500, 1000)  # characters of a window
KINDS = ("letters", "shuffled", "mixture")  # kinds of text without style
_UNSEEN = "\x00"  # replaces every character that the training text lacks
_PRINTABLE = np.array([*(chr(code) for code in range(32, 127)), _UNSEEN], object)  # an array of text drops a null
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz "))


class StyleJudge:
    """A classifier of windows of text, for K styles and none.

    Args:
        kind: "svm" or "bayes".
        styles: their names; labels are indices into it.
        seed: random seed of the windows without style in its training data.

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(self, kind: str, styles: Sequence[str], seed: int = 0):
        if kind not in ("svm", "bayes"):
            raise ValueError(f"kind is svm or bayes, not {kind!r}")
        self.kind, self.styles, self.seed = kind, list(styles), seed
        self._alphabet = ""
        self._pipeline: Any = None  # until fit

    def fit(self, texts: Mapping[str, str], lengths: Iterable[int] = LENGTHS) -> "StyleJudge":
        """Train on a text of each style, cut into windows of every length.

        Args:
            texts: training text by style.

        Raises:
            UserError: a text is shorter than the longest window.
        """
        lengths = list(lengths)
        short = next((style for style in self.styles if len(texts[style]) < max(lengths)), None)
        if short is not None:
            found = f"{len(texts[short])} characters of style {short!r} are left to learn it from"
            raise UserError(f"{found}, less than a window of {max(lengths)}: give more text, or shorter --lengths")
        draw = np.random.default_rng(self.seed)
        self._alphabet = "".join(sorted(set("".join(texts.values()))))
        windows, labels = [], []
        for length in lengths:
            per_style = [cut(texts[style], length) for style in self.styles]
            for label, found in enumerate(per_style):
                windows += found
                labels += [label] * len(found)
            count = max(len(found) for found in per_style)
            for offset, kind in enumerate(KINDS):
                windows += styleless(kind, [texts[style] for style in self.styles], length, count, draw)
                labels += [len(self.styles) + offset] * count
        self._pipeline = _pipeline(self.kind, self.seed).fit(self._known(windows), labels)
        return self

    def predict(self, windows: Sequence[str]) -> np.ndarray:
        """Return the style of each window, (N,) int64: 0 to K - 1, or :data:`NONE`."""
        if not len(windows):
            return np.empty(0, np.int64)
        found = self._pipeline.predict(self._known(windows))
        return np.where(found < len(self.styles), found, NONE).astype(np.int64)

    def nearest(self, windows: Sequence[str]) -> np.ndarray:
        """Return the nearest style of each window, (N,) int64, even of windows without style.

        Compare it only with the requested style, when all styles are requested equally often: text
        without style then agrees by chance, 1/K. On its own it assigns random letters a perfectly consistent style.
        """
        if not len(windows):
            return np.empty(0, np.int64)
        judge = self._pipeline[-1]
        score = judge.decision_function if self.kind == "svm" else judge.predict_joint_log_proba
        scores = score(self._pipeline[:-1].transform(self._known(windows)))  # (N, K + kinds without style)
        return scores[:, : len(self.styles)].argmax(1)

    def _known(self, windows):
        """Return windows with one symbol for all characters that the training text lacks."""
        other = re.compile(f"[^{re.escape(self._alphabet)}]")
        return [other.sub(_UNSEEN, window) for window in windows]


def _pipeline(kind, seed):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    features = TfidfVectorizer(
        analyzer="char", lowercase=False, ngram_range=(1, 4), min_df=3, max_features=50_000, sublinear_tf=True,
        dtype=np.float32,
    )  # fmt: skip
    judge = LinearSVC(random_state=seed) if kind == "svm" else MultinomialNB(alpha=0.1, fit_prior=False)
    return make_pipeline(features, judge)


def cut(text: str, length: int) -> list[str]:
    """Return the adjacent windows of a text; an incomplete last one is dropped."""
    return [text[start : start + length] for start in range(0, len(text) - length + 1, length)]


def styleless(kind: str, texts: Sequence[str], length: int, count: int, draw: np.random.Generator) -> list[str]:
    """Return windows without style.

    Args:
        kind: ``letters``, random letters, each window of few or many different ones; ``shuffled``, a window of a text
            with its characters in random order; ``mixture``, alternating stretches of several texts.
        texts: K texts, each longer than ``length``.
        draw: source of randomness.
    """
    make = {"letters": _letters, "shuffled": _shuffled, "mixture": _mixture}[kind]
    return [make(texts, length, draw) for _ in range(count)]


def _letters(texts, length, draw):
    symbols = _PRINTABLE if draw.random() < 0.5 else _LETTERS
    symbols = draw.choice(symbols, draw.integers(1, len(symbols) + 1), replace=False)
    return "".join(draw.choice(symbols, length))


def _shuffled(texts, length, draw):
    return "".join(draw.permutation(list(_stretch(texts[draw.integers(len(texts))], length, draw))))


def _mixture(texts, length, draw):
    """Alternate between 2 to K texts, in stretches of a tenth to a quarter of the window."""
    turns = draw.permutation(len(texts))[: draw.integers(2, len(texts) + 1)] if len(texts) > 2 else range(len(texts))
    return mix([texts[i] for i in turns], length, max(5, int(length * draw.uniform(0.1, 0.25))), draw)


def mix(texts: Sequence[str], length: int, stretch: int, draw: np.random.Generator) -> str:
    """Return a text of ``length`` characters that alternates between texts, ``stretch`` characters at a time."""
    turns = (texts[i % len(texts)] for i in range(-(-length // stretch)))
    return "".join(_stretch(text, stretch, draw) for text in turns)[:length]


def _stretch(text, length, draw):
    start = draw.integers(len(text) - length + 1)
    return text[start : start + length]


def partition(documents: Sequence[str], shares: Sequence[float]) -> list[str]:
    """Return the text of documents in disjoint parts: of whole documents, or of stretches if there are few documents.

    Args:
        documents: documents of one style.
        shares: approximate shares of the parts; they sum to 1.
    """
    lengths = np.array([len(document) for document in documents])
    ends = np.round(np.cumsum(shares) * lengths.sum()).astype(int)
    if len(documents) < 5 * len(shares):
        text = "".join(documents)
        return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    middles = np.cumsum(lengths) - lengths / 2
    homes = np.minimum(np.searchsorted(ends, middles), len(shares) - 1)
    return ["".join(d for d, home in zip(documents, homes, strict=True) if home == part) for part in range(len(shares))]
