"""Words that predict labels: association statistics of words and labels, and a linear probe on the strongest words.

Gardner et al., 2021, "Competency Problems" (arXiv 2104.08646): without artifacts p(y | w) equals the class prior; z is
the deviation from the prior in standard errors. Monroe, Colaresi and Quinn, 2008, "Fightin' Words": log-odds with a
Dirichlet prior. LMI = p(w, y) PMI(w, y) (Evert, 2005). A word is counted once per text.

Shapes: n texts, V words, C classes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import log_softmax, ndtr

from plugins.errors import check

from . import usable_information
from .divergence import WordCounts, aligned, by_class
from .predictions import checked_labels, of_label

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # inverse regularization of the probe
MIN_COUNT = 20  # minimum number of texts with a word (Gardner et al.)


@dataclass(frozen=True)
class Association:
    """Association of words and labels, (V, C) arrays unless noted; NaN for words below the minimum count.

    Attributes:
        count: number of texts with the word, (V,).
        p: frequency of the label among these texts.
        z: deviation of p from the prior, in standard errors.
        q: false discovery rate at which the pair is significant (Benjamini and Hochberg, over all pairs).
        pmi: pointwise mutual information log2 p(y | w) / p(y) in bits, counts smoothed by 1/2.
        lmi: p(w, y) times PMI, bits.
        log_odds: z-score of the log-odds against the other labels under a Dirichlet prior.
    """

    count: np.ndarray
    p: np.ndarray
    z: np.ndarray
    q: np.ndarray
    pmi: np.ndarray
    lmi: np.ndarray
    log_odds: np.ndarray


def z_score(share: np.ndarray, prior: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the deviation of a frequency in ``count`` texts from a prior, in standard errors (Gardner et al., 3.2)."""
    return (share - prior) / np.sqrt(prior * (1 - prior) / count)


def associations(
    presence: sparse.csr_matrix, labels: np.ndarray, num_classes: int, min_count: int = MIN_COUNT
) -> Association:
    """Return the association statistics of words and labels.

    Args:
        presence: (n, V), nonzero where a text contains a word.
        labels: (n,) class ids.
        num_classes: C.
        min_count: minimum number of texts with a word.

    Raises:
        UserError: shapes differ, or a label is out of range.
    """
    labels = checked_labels(labels, num_classes, presence.shape[0])
    once = presence.copy()
    once.data = np.ones_like(once.data)
    table = by_class(once, labels, num_classes).T.astype(np.float64)  # (V, C)
    sizes = np.bincount(labels, minlength=num_classes).astype(np.float64)
    prior, count = sizes / len(labels), table.sum(1)
    judged = count >= min_count
    with np.errstate(divide="ignore", invalid="ignore"):
        p = table / count[:, None]
        z = z_score(p, prior, count[:, None])
        pmi = np.log2((table + 0.5) / (count[:, None] + 0.5 * num_classes) / prior)
        lmi = table / len(labels) * pmi
    z[~np.isfinite(z)] = np.nan
    for values in (p, z, pmi, lmi):
        values[~judged] = np.nan
    log_odds = monroe(table)
    log_odds[~judged] = np.nan
    return Association(count.astype(np.int64), p, z, false_discovery(2 * ndtr(-np.abs(z))), pmi, lmi, log_odds)


def false_discovery(p_values: np.ndarray) -> np.ndarray:
    """Return the q-values of p-values of any shape (Benjamini and Hochberg, 1995); NaN stays NaN."""
    flat = p_values.ravel()
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    raw = flat[order] * len(order) / np.arange(1, len(order) + 1)
    found = np.full(flat.shape, np.nan)
    found[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1)
    return found.reshape(p_values.shape)


def monroe(table: np.ndarray, strength: float = 500.0) -> np.ndarray:
    """Return the z-scores of the log-odds of each word in each class against the other classes, (V, C).

    Args:
        table: (V, C) counts.
        strength: total pseudo-count of the prior, distributed over words by their frequency in all classes.
    """
    total = table.sum(1, keepdims=True)
    prior = strength * total / max(1.0, total.sum()) + 1e-9  # (V, 1)
    own, own_all = table + prior, table.sum(0) + prior.sum()
    other, other_all = total - table + prior, (total - table).sum(0) + prior.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        delta = np.log(own / (own_all - own)) - np.log(other / (other_all - other))
    return delta / np.sqrt(1 / own + 1 / other)


# Probe


@dataclass(frozen=True)
class Probe:
    """Held-out results of a logistic regression on a few words.

    Attributes:
        sizes: numbers of words, (M,).
        bits, accuracy: bits and accuracy with the words of the largest \\|z\\|, (M,).
        random_bits, random_accuracy: bits and accuracy with the same number of random words of similar frequency, (M,).
        all_bits, all_accuracy: bits and accuracy with all words in at least two texts.
        rows: number of rows used.
        prior: accuracy of the majority class.
    """

    sizes: np.ndarray
    bits: np.ndarray
    accuracy: np.ndarray
    random_bits: np.ndarray
    random_accuracy: np.ndarray
    all_bits: float
    all_accuracy: float
    rows: int
    prior: float


def probe(
    presence: sparse.csr_matrix, labels: np.ndarray, num_classes: int, sizes: tuple[int, ...] = (10, 40, 160, 640),
    folds: int = 3, most_rows: int = 20000, seed: int = 0,
) -> Probe:  # fmt: skip
    """Compare the information in the most informative words with the information in all words, for a linear model.

    Words are selected and models trained on other folds than they are tested on. Information is calibrated V-usable
    information in bits per row. Rows whose class occurs in no other fold are left out: no model can predict them.

    Args:
        presence: (n, V), nonzero where a text contains a word.
        labels: (n,) class ids.
        num_classes: C.
        sizes: numbers of words to try.
        folds: number of cross-validation folds.
        most_rows: maximum number of rows; larger data sets are sampled.
        seed: random seed of the sample, the folds and the random words.

    Raises:
        UserError: there are fewer than ten rows or two classes, or labels are out of range.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(presence.shape[0])[:most_rows]
    presence, labels = presence[rows].astype(bool).astype(np.float32), checked_labels(labels, num_classes)[rows]
    check(len(np.unique(labels)) > 1 and len(rows) >= 10, "the probe needs ten rows or more, of two classes or more")
    fold = np.arange(len(rows)) % folds
    total = np.asarray(presence.sum(0)).ravel()
    sizes = np.array([size for size in sizes if size <= (total >= 2).sum()] or [int((total >= 2).sum())])
    strong, matched, every, null = held_out_logits(presence, labels, num_classes, sizes, fold, random)
    known = np.zeros(len(rows), bool)
    for k in range(folds):
        known[fold == k] = np.isin(labels[fold == k], labels[fold != k])
    labels, fold, null = labels[known], fold[known], null[known]
    check(known.any(), "the probe needs a class of two rows or more; is --label the column of the classes?")

    def judged(values: np.ndarray) -> tuple[float, float]:
        scaled, _ = usable_information.calibrated(values[known], labels, fold)
        bits = usable_information.pvi(scaled, labels, null).mean()
        return float(bits), float((values[known].argmax(1) == labels).mean())

    (bits, accuracy), (random_bits, random_accuracy) = (
        np.array([judged(values) for values in kind]).T for kind in (strong, matched)
    )
    all_bits, all_accuracy = judged(every)
    prior = float(np.bincount(labels).max() / len(labels))
    return Probe(sizes, bits, accuracy, random_bits, random_accuracy, all_bits, all_accuracy, len(labels), prior)


def held_out_logits(
    presence: sparse.csr_matrix, labels: np.ndarray, num_classes: int, sizes: np.ndarray, fold: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the logits of models trained on the other folds.

    Args:
        sizes: numbers of words, (M,).
        fold: (n,) fold numbers.
        random: random generator for the words of similar frequency.

    Returns:
        Logits from the most informative words and from random words, (M, n, C) each; from all words in at least two
        texts, (n, C); and the log2 class frequencies of the other folds, (n, C).
    """
    strong, matched = (np.zeros((len(sizes), len(labels), num_classes)) for _ in range(2))
    every, null = (np.zeros((len(labels), num_classes)) for _ in range(2))
    total = np.asarray(presence.sum(0)).ravel()
    often = np.flatnonzero(total >= 2)
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        null[test] = usable_information.prior_log2(labels[train], num_classes)
        every[test] = linear(presence[:, often], labels, train, test, num_classes)
        order = strongest(presence[train], labels[train], num_classes)
        for place, size in enumerate(sizes):
            words = order[:size]
            others = same_frequency(words, total, random)
            strong[place, test] = linear(presence[:, words], labels, train, test, num_classes)
            matched[place, test] = linear(presence[:, others], labels, train, test, num_classes)
    return strong, matched, every, null


def strongest(presence: sparse.csr_matrix, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the words, (V,), by their largest \\|z\\|: those in at least five texts, in two, others."""
    z = associations(presence, labels, num_classes, 1).z
    count = np.asarray(presence.sum(0)).ravel()
    return np.lexsort((-np.nan_to_num(np.abs(z)).max(1), -np.digitize(count, (2, 5))))


def linear(
    features: sparse.csr_matrix, labels: np.ndarray, train: np.ndarray, test: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return the logits of a logistic regression, (tested rows, C); classes without training rows get the lowest logit.

    The regularization strength is selected from :data:`STRENGTHS` on a tenth of the training rows.

    Args:
        features: (n, V).
        labels: (n,) class ids.
        train, test: numbers of the rows to train on and to predict.
        num_classes: C.
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(train)
    if features.shape[1] == 0:
        prior = usable_information.prior_log2(labels[train], num_classes) * np.log(2)
        return np.broadcast_to(prior, (int(test.sum()), num_classes))
    tenth = max(1, len(rows) // 10)
    inner, held = rows[tenth:], rows[:tenth]

    def fitted(strength: float, own: np.ndarray, other: np.ndarray) -> np.ndarray:
        if len(np.unique(labels[own])) == 1:
            return np.where(np.arange(num_classes) == labels[own[0]], 0.0, -1.0) * np.ones((len(other), 1))
        model = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(features[own], labels[own])
        scores = log_softmax(_full(model.decision_function(features[other])), axis=1)
        found = np.full((len(scores), num_classes), scores.min() - 1)
        found[:, model.classes_] = scores
        return found

    losses = [-of_label(fitted(strength, inner, held), labels[held]).mean() for strength in STRENGTHS]
    return fitted(STRENGTHS[int(np.argmin(losses))], rows, np.flatnonzero(test))


def _full(decision: np.ndarray) -> np.ndarray:
    """Return one logit per class; scikit-learn returns a single number for two classes."""
    return np.stack([np.zeros(len(decision)), decision], 1) if decision.ndim == 1 else decision


def same_frequency(words: np.ndarray, counts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sample a distinct word of similar frequency for each of some words.

    Args:
        words: (m,) word numbers.
        counts: (V,) word frequencies.
    """
    order = np.argsort(counts, kind="stable")
    place = np.empty(len(counts), np.int64)
    place[order] = np.arange(len(counts))
    taken, chosen = set(words.tolist()), []
    for word in words.tolist():
        for reach in (10, 50, 250, len(order)):
            near = order[max(0, place[word] - reach) : place[word] + reach + 1]
            free = [w for w in near.tolist() if w not in taken]
            if free:
                chosen.append(int(random.choice(free)))
                taken.add(chosen[-1])
                break
    return np.array(chosen or words[:0], np.int64)


def presence_by_side(first: WordCounts, second: WordCounts) -> WordCounts:
    """Return the words of pairs of texts with their side: ``1:word``, ``2:word``, and ``both:word`` if shared."""
    sides, vocabulary = aligned([first, second])
    both = sides[0].multiply(sides[1]).tocsr()
    names = [f"{prefix}:{word}" for prefix in ("1", "2", "both") for word in vocabulary]
    return WordCounts(sparse.hstack([*sides, both], format="csr"), names)
