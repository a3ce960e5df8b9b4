"""Plant label errors of several kinds, and measure how early an order of the rows finds them.

Shapes: n rows, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from plugins.errors import UserError, check

from . import folds as fold_tools
from .predictions import checked_labels

KINDS = ("uniform", "asymmetric", "one_class", "pair", "cyclic", "rare_class", "annotator")


def plant(labels: np.ndarray, num_classes: int, kind: str, rate: float, seed: int = 0,
          weak: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """Return labels with planted errors, (n,).

    Args:
        labels: (n,) correct class ids.
        num_classes: K.
        kind: ``uniform``: any row changes to any other class; ``asymmetric``: two classes each lose rows to one other
            class, at 1.25 and 0.75 times the rate; ``one_class``: one class loses rows to all others; ``pair``: two
            classes exchange rows; ``cyclic``: each class loses rows to the next; ``rare_class``: the rarest class
            gains rows from the others, at a rate relative to its size; ``annotator``: errors of a weak model, up to
            the rate.
        rate: fraction of the rows that change, in the classes that lose rows; above 0 and at most 0.5.
        seed: random seed.
        weak: (n, K) probabilities of a weak model, for ``annotator``.

    Raises:
        UserError: the kind is unknown, the rate is out of range, or the weak model is missing or makes no errors.
    """
    check(kind in KINDS, f"kind {kind!r}: the choices are {', '.join(KINDS)}")
    check(0 < rate <= 0.5, f"rate {rate:g}: must be above 0 and at most 0.5")
    labels = checked_labels(labels, num_classes)
    random = np.random.default_rng(seed)
    order = random.permutation(num_classes)  # roles of the classes
    if kind in ("uniform", "rare_class"):
        return (_uniform if kind == "uniform" else _rare_class)(labels, num_classes, rate, random)
    if kind == "annotator":
        return _annotator(labels, rate, random, weak)
    return _between_classes(labels, kind, rate, order, random)


def _others(labels: np.ndarray, rows: np.ndarray, num_classes: int, random: np.random.Generator) -> np.ndarray:
    """Sample another class for each of some rows."""
    return (labels[rows] + random.integers(1, num_classes, len(rows))) % num_classes


def _some(rows: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    return random.choice(rows, round(share * len(rows)), replace=False)


def _uniform(labels: np.ndarray, num_classes: int, rate: float, random: np.random.Generator) -> np.ndarray:
    given = labels.copy()
    rows = _some(np.arange(len(labels)), rate, random)
    given[rows] = _others(labels, rows, num_classes, random)
    return given


def _rare_class(labels: np.ndarray, num_classes: int, rate: float, random: np.random.Generator) -> np.ndarray:
    given = labels.copy()
    counts = np.bincount(labels, minlength=num_classes)
    rare = int(np.where(counts > 0, counts, len(labels) + 1).argmin())
    rest = np.flatnonzero(labels != rare)
    given[random.choice(rest, max(1, min(len(rest) // 2, round(rate * counts[rare]))), replace=False)] = rare
    return given


def _annotator(labels: np.ndarray, rate: float, random: np.random.Generator, weak: np.ndarray | None) -> np.ndarray:
    if weak is None:
        raise UserError("annotator: the probabilities of a weak model are needed")
    given, answers = labels.copy(), weak.argmax(1)
    wrong = np.flatnonzero(answers != labels)
    check(len(wrong), "annotator: the weak model makes no mistakes")
    rows = random.permutation(wrong)[: round(rate * len(labels))]
    given[rows] = answers[rows]
    return given


def _between_classes(
    labels: np.ndarray, kind: str, rate: float, order: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return labels with class-dependent errors: asymmetric, one_class, pair and cyclic noise."""
    given, num_classes = labels.copy(), len(order)

    def some(k: int, share: float) -> np.ndarray:
        return _some(np.flatnonzero(labels == k), share, random)

    if kind == "asymmetric":
        first, second = order[0], order[1]
        for k, target, share in ((first, second, 1.25), (second, order[2 % num_classes], 0.75)):
            given[some(k, min(0.5, share * rate))] = target if target != k else first
    elif kind == "one_class":
        rows = some(order[0], rate)
        given[rows] = _others(labels, rows, num_classes, random)
    elif kind == "pair":
        given[some(order[0], rate)], given[some(order[1], rate)] = order[1], order[0]
    else:
        for k in range(num_classes):
            given[some(k, rate)] = (k + 1) % num_classes
    return given


def linear_probabilities(texts: Sequence[str], labels: np.ndarray, num_classes: int, row_folds: np.ndarray,
                         strength: float = 3.0, only: int | None = None) -> np.ndarray:  # fmt: skip
    """Return out-of-fold probabilities (n, K) of a logistic regression on TF-IDF vectors of unigrams and bigrams.

    Args:
        texts: n texts.
        labels: (n,) class ids.
        num_classes: K.
        row_folds: (n,) fold numbers.
        strength: inverse regularization.
        only: predict only this fold; the other rows get equal probabilities.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    x: sparse.csr_matrix = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(texts)
    found = np.full((len(labels), num_classes), 1e-6)
    for number in np.unique(row_folds) if only is None else [only]:
        train, test = row_folds != number, np.flatnonzero(row_folds == number)
        model = LogisticRegression(C=strength, max_iter=300).fit(x[train], labels[train])
        found[np.ix_(test, model.classes_)] = model.predict_proba(x[test])
    return found / found.sum(1, keepdims=True)


def weak_probabilities(texts: Sequence[str], labels: np.ndarray, num_classes: int, seed: int = 0) -> np.ndarray:
    """Return the probabilities (n, K) of a linear model trained on a tenth of the rows that excludes the row.

    Args:
        texts: n texts.
        labels: (n,) class ids.
        num_classes: K.
        seed: random seed of the tenths.

    Raises:
        UserError: there are fewer than ten rows.
    """
    parts = fold_tools.stratified(labels, 10, seed=seed, source="--kinds annotator")
    by_first = linear_probabilities(texts, labels, num_classes, (parts != 0).astype(int))  # predicts all other tenths
    by_second = linear_probabilities(texts, labels, num_classes, (parts != 1).astype(int))
    return np.where((parts == 0)[:, None], by_second, by_first)


# How early errors are found


def average_precision(score: np.ndarray, wrong: np.ndarray) -> float:
    """Return the average precision of wrong rows, ranked by ascending score."""
    hits = wrong[np.argsort(score, kind="stable")]
    places = np.flatnonzero(hits) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places)) if len(places) else float("nan")


def precision_at(found: np.ndarray, rows: int) -> float:
    """Return the fraction of errors among the first rows of an order, given booleans in that order."""
    return float(np.mean(found[:rows]))


def judge_with_errors(wrong: np.ndarray, rate: float, seed: int = 0) -> np.ndarray:
    """Return the judgments (n,) bool of a simulated reviewer with an error rate."""
    return wrong ^ (np.random.default_rng(seed).random(len(wrong)) < rate)


def means(rows: Sequence[Mapping], by: Sequence[str], values: Sequence[str]) -> list[dict]:
    """Group rows by some columns; return the mean and standard deviation of other columns, ignoring NaN."""
    groups: dict[tuple, list[Mapping]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    result = []
    for key, members in groups.items():
        entry = dict(zip(by, key, strict=True)) | {"plantings": len(members)}
        for name in values:
            numbers = np.array([member[name] for member in members], float)
            numbers = numbers[~np.isnan(numbers)]
            found = (numbers.mean(), numbers.std()) if len(numbers) else (np.nan, np.nan)
            entry |= {name: float(found[0]), f"{name}_sd": float(found[1])}
        result.append(entry)
    return result
