"""Jensen-Shannon divergence between the word distributions of classes, with the value expected by chance.

The divergence between samples of the same distribution is above 0, and larger for smaller samples. Therefore compare
divergences relative to a floor computed with shuffled labels, and at equal size. Kulkarni et al., 2023 (arXiv
2306.02369) use the divergence between classes.

Shapes: C classes, V words, n texts. Divergences are in bits, 0 to 1; their square roots are a metric.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from plugins.errors import check

from .predictions import checked_labels

WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def js(counts: np.ndarray, smoothing: float = 1.0) -> np.ndarray:
    """Return the Jensen-Shannon divergence of each pair of classes, (C, C) bits.

    Args:
        counts: (C, V) word counts of each class, over the vocabulary of all classes.
        smoothing: value added to each count.

    Raises:
        UserError: the shape is wrong, a count is negative or not finite, or a class has no words.
    """
    shares = smoothed(counts, smoothing)
    entropy = -xlogy(shares, shares).sum(1)  # (C,), nats
    result = np.zeros((len(shares), len(shares)))
    for i in range(len(shares)):  # row by row: (C, C, V) would not fit in memory for large vocabularies
        middle = (shares[i] + shares[i + 1 :]) / 2
        result[i, i + 1 :] = -xlogy(middle, middle).sum(1) - (entropy[i] + entropy[i + 1 :]) / 2
    return np.maximum(result + result.T, 0) / np.log(2)


def smoothed(counts: np.ndarray, smoothing: float = 1.0) -> np.ndarray:
    """Return the smoothed word distribution of each class, (C, V), with rows of sum 1; see :func:`js` for errors."""
    counts = np.asarray(counts, np.float64)
    check(counts.ndim == 2 and counts.size > 0, f"counts: (classes, words) are expected, not the shape {counts.shape}")
    check(np.isfinite(counts).all() and (counts >= 0).all(), "counts: a count is negative, NaN or infinite")
    totals = counts.sum(1) + smoothing * counts.shape[1]
    empty = np.flatnonzero(totals <= 0)
    check(not len(empty), f"counts: class {empty[:1].tolist()} has no words, and no smoothing")
    return (counts + smoothing) / totals[:, None]


def contributions(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return each word's contribution to the divergence of two distributions (V,), in bits.

    It is negative if the word is more frequent in the second distribution.
    """
    middle = (first + second) / 2
    parts = (xlogy(first, first / middle) + xlogy(second, second / middle)) / 2 / np.log(2)
    return np.where(first >= second, parts, -parts)


# Texts


@dataclass(frozen=True)
class WordCounts:
    """Texts as counts of words.

    Attributes:
        counts: (n, V) sparse, CSR, int32.
        vocabulary: V words.
    """

    counts: sparse.csr_matrix
    vocabulary: list[str]


def tokens(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in lower case."""
    return WORD.findall(text.lower())


def count_words(texts: Iterable[Sequence[str]]) -> WordCounts:
    """Count the words of texts that are lists of tokens."""
    ids: defaultdict[str, int] = defaultdict()
    ids.default_factory = ids.__len__  # an unknown word gets the next number
    columns, ends = array("i"), array("q", [0])
    for text in texts:
        columns.extend([ids[word] for word in text])
        ends.append(len(columns))
    arrays = np.ones(len(columns), np.int32), np.array(columns, np.int32), np.array(ends)
    counts = sparse.csr_matrix(arrays, shape=(len(ends) - 1, len(ids)))
    counts.sum_duplicates()
    return WordCounts(counts, list(ids))


def aligned(parts: Sequence[WordCounts]) -> tuple[list[sparse.csr_matrix], list[str]]:
    """Return the counts of all parts with the columns of a joint vocabulary, and that vocabulary."""
    numbers = {word: i for i, word in enumerate(dict.fromkeys(word for part in parts for word in part.vocabulary))}
    found = []
    for part in parts:
        columns = np.fromiter((numbers[word] for word in part.vocabulary), np.int32, len(part.vocabulary))
        arrays = part.counts.data, columns[part.counts.indices], part.counts.indptr
        found.append(sparse.csr_matrix(arrays, shape=(part.counts.shape[0], len(numbers))))
        found[-1].sort_indices()
    return found, list(numbers)


def by_class(counts: sparse.csr_matrix, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the word counts of each class, (C, V) int64."""
    rows = np.arange(len(labels))
    member = sparse.csr_matrix((np.ones(len(labels), np.int64), (labels, rows)), shape=(num_classes, len(labels)))
    return np.asarray((member @ counts).todense(), np.int64)


@dataclass(frozen=True)
class Divergence:
    """Divergences of each pair of classes, (C, C) in bits, and the word distributions.

    Attributes:
        raw: divergence of all texts of the classes.
        floor, floor_high: mean and 95 % quantile with shuffled labels, which preserve the class sizes.
        equal, equal_floor: divergence and floor at equal size: about as many words per class as the smallest class.
        words: (C, V) smoothed word distributions.
    """

    raw: np.ndarray
    floor: np.ndarray
    floor_high: np.ndarray
    equal: np.ndarray
    equal_floor: np.ndarray
    words: np.ndarray

    @property
    def above_floor(self) -> np.ndarray:
        """Divergence at equal size minus the chance level; can be slightly below 0."""
        return self.equal - self.equal_floor


def class_divergence(
    texts: WordCounts | Sequence[str], labels: np.ndarray, smoothing: float = 1.0, draws: int = 20, seed: int = 0
) -> Divergence:
    """Return the divergence between the word distributions of classes, and the divergence expected by chance.

    Args:
        texts: n texts, or their word counts.
        labels: (n,) class ids 0 ... C - 1.
        smoothing: smoothing of the counts.
        draws: number of label shuffles, and of samples of equal size.

    Raises:
        UserError: a class has no texts; see also :func:`js`.
    """
    words = texts if isinstance(texts, WordCounts) else count_words([tokens(text) for text in texts])
    labels = np.asarray(labels)
    classes = int(labels.max(initial=0)) + 1
    labels = checked_labels(labels, classes, words.counts.shape[0])
    sizes = np.bincount(labels, minlength=classes)
    check((sizes > 0).all(), f"labels: class {np.flatnonzero(sizes == 0)[:1].tolist()} has no texts")
    random = np.random.default_rng(seed)
    shuffles = [js(by_class(words.counts, random.permutation(labels), classes), smoothing) for _ in range(draws)]
    equal, equal_floor = [], []
    for _ in range(max(1, draws // 2)):
        rows = equal_sample(labels, sizes.min(), random)
        part = words.counts[rows]
        equal.append(js(by_class(part, labels[rows], classes), smoothing))
        equal_floor.append(js(by_class(part, random.permutation(labels[rows]), classes), smoothing))
    counts = by_class(words.counts, labels, classes)
    return Divergence(
        js(counts, smoothing), np.mean(shuffles, 0), np.quantile(shuffles, 0.95, axis=0), np.mean(equal, 0),
        np.mean(equal_floor, 0), smoothed(counts, smoothing),
    )  # fmt: skip


def equal_sample(labels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Return the numbers of ``size`` rows of each class, drawn without replacement."""
    return np.concatenate([random.choice(np.flatnonzero(labels == k), size, False) for k in np.unique(labels)])


def gothate(words: WordCounts, labels: np.ndarray) -> np.ndarray:
    """Return divergences (C, C) in nats, computed as by Kulkarni et al., for comparison with published values.

    Of each class only the 500 most and the 750 least frequent words count, without punctuation and stop words
    (scikit-learn's list; theirs is NLTK's); a word that a class has gets (c + 1) / (N + V), another one 1 / (N + V),
    with N words and V different ones kept of the class, and the shares are then normalized.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    usable = np.array([word[0].isalnum() and word not in ENGLISH_STOP_WORDS for word in words.vocabulary])
    counts = by_class(words.counts, labels, int(labels.max()) + 1) * usable  # (C, V)
    kept = np.zeros_like(counts)
    for row, out in zip(counts, kept, strict=True):
        present = np.flatnonzero(row)
        order = present[np.argsort(-row[present], kind="stable")]
        chosen = np.union1d(order[:500], order[-750:])
        out[chosen] = row[chosen]
    result = np.zeros((len(kept), len(kept)))
    for a in range(len(kept)):
        for b in range(a):
            both = kept[[a, b]][:, (kept[a] > 0) | (kept[b] > 0)]
            shares = (both + 1) / (both.sum(1) + (both > 0).sum(1))[:, None]
            result[a, b] = result[b, a] = js(shares / shares.sum(1, keepdims=True), 0)[0, 1] * np.log(2)
    return result
