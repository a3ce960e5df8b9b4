"""Compare two data sets with the same classes: are their labels consistent?

Shapes: n rows of both data sets in total, K classes.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from plugins.errors import check

from . import duplicates, folds, lexical, usable_information
from .datasets import Rows
from .divergence import count_words, tokens
from .predictions import log2_softmax

SURE = 0.8  # minimum probability of a confident prediction
FOLDS = 3
SMALLEST = 10  # rows of each data set


def same_classes(
    first: Rows, second: Rows, mapping: dict[str, str] | None = None
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the common classes, and the labels of each data set as common class ids.

    Args:
        first, second: data sets.
        mapping: {class of either data set: common class}; None if both use the same class names.

    Raises:
        UserError: the mapping lacks a class or has values that are not names, the classes differ, or one is left.
    """
    given = [*first.classes, *second.classes]
    if mapping is None:
        mapping = {name: name for name in given}
    check(all(isinstance(name, str) for name in mapping.values()), "--map: the common classes must be names")
    missing = [name for name in dict.fromkeys(given) if name not in mapping]
    check(not missing, f"--map: no entry for {', '.join(missing)}")
    sets = [{mapping[name] for name in rows.classes} for rows in (first, second)]
    check(sets[0] == sets[1], f"the classes differ: {', '.join(sorted(sets[0] ^ sets[1]))}; name them alike with --map")
    classes = sorted(sets[0])
    check(len(classes) > 1, f"--map: only the class {classes[0]} is left; at least two are needed")
    ids = [np.array([classes.index(mapping[name]) for name in rows.classes]) for rows in (first, second)]
    return classes, ids[0][first.labels], ids[1][second.labels]


def conflicts(first: Rows, second: Rows, labels: Sequence[np.ndarray], threshold: float = 0.8) -> list[tuple]:
    """Return (row of the first, row of the second, similarity) for exact and near duplicates with different labels.

    Args:
        first, second: the data sets.
        labels: common class ids of each, returned by :func:`same_classes`.
        threshold: minimum similarity of near duplicates.
    """
    size = len(first)
    texts = duplicates.joined(first.texts) + duplicates.joined(second.texts)
    found = duplicates.find(texts, threshold)
    both = np.concatenate(labels)
    members: dict[int, list[int]] = {}
    for row, number in enumerate(found.exact.tolist()):
        members.setdefault(number, []).append(row)
    links = [(own, own, 1.0) for own in members.values()]
    for (a, b), value in zip(found.pairs.tolist(), found.similarity.tolist(), strict=True):
        here, there = members[int(found.exact[a])], members[int(found.exact[b])]
        links += [(here, there, value), (there, here, value)]
    return sorted(
        ((a, b - size, value) for here, there, value in links for a in here if a < size for b in there
         if b >= size and both[a] != both[b]),
        key=lambda link: -link[2],
    )  # fmt: skip


def compare(first: Rows, second: Rows, labels: Sequence[np.ndarray], num_classes: int, seed: int = 1) -> dict:
    """Evaluate a linear model of each data set on both data sets.

    Args:
        first, second: the data sets.
        labels: common class ids of each, returned by :func:`same_classes`.
        num_classes: K.
        seed: random seed of the folds.

    Returns:
        ``V``: {"A to B": (raw, calibrated) bits per row}; within a data set from out-of-fold predictions, across data
        sets with temperatures fitted on one half of the rows and applied to the other; ``told_apart``: accuracy of a
        classifier that separates the data sets within a label, and of the majority class; ``disagree``: (row,
        prediction of A, prediction of B) for rows on which the models confidently disagree, where rows of the second
        data set follow those of the first; ``words``: words that are overrepresented in these rows, with the z-scores
        of their log-odds.

    Raises:
        UserError: a data set has fewer than ten rows.
    """
    for rows in (first, second):
        check(len(rows) >= SMALLEST, f"{rows.split_names[0]}: {len(rows)} rows; {SMALLEST} or more are needed")
    texts = [" ".join(row) for rows in (first, second) for row in zip(*rows.texts, strict=True)]
    words = count_words([tokens(text) for text in texts])
    often = np.flatnonzero(np.asarray((words.counts > 0).sum(0)).ravel() >= 2)
    x: sparse.csr_matrix = (words.counts[:, often] > 0).astype(np.float32).tocsr()
    both, side = np.concatenate(labels), np.repeat([0, 1], [len(first), len(second)])
    fold = np.concatenate([folds.stratified(own, FOLDS, seed=seed) for own in labels])
    logits = np.zeros((2, len(both), num_classes))  # from the models of A and B
    for k in range(2):
        for number in range(FOLDS):
            train, test = (side == k) & (fold != number), (side == k) & (fold == number)
            logits[k, test] = lexical.linear(x, both, train, test, num_classes)
        logits[k, side != k] = lexical.linear(x, both, side == k, side != k, num_classes)
    names, found = "AB", {}
    for k in range(2):
        for j in range(2):
            own = side == j
            null = usable_information.prior_log2(both[own], num_classes)
            scaled, _ = usable_information.calibrated(logits[k, own], both[own], fold[own] if k == j else fold[own] % 2)
            raw, better = (usable_information.pvi(z, both[own], null).mean() for z in (logits[k, own], scaled))
            found[f"{names[k]} to {names[j]}"] = (float(raw), float(better))
    p = 2 ** log2_softmax(logits)
    answers, sure = p.argmax(-1), (p.max(-1) >= SURE).all(0)
    rows = np.flatnonzero(sure & (answers[0] != answers[1]))
    marking = marking_words(x, words.vocabulary, often, rows)
    return {"V": found, "told_apart": separability(x, both, side, fold), "words": marking,
            "disagree": [(int(i), int(answers[0, i]), int(answers[1, i])) for i in rows]}  # fmt: skip


def separability(x: sparse.csr_matrix, labels: np.ndarray, side: np.ndarray, fold: np.ndarray) -> dict:
    """Return the out-of-fold accuracy of linear models that distinguish the data sets within each label.

    Args:
        x: (n, V) features of the rows of both data sets.
        labels: (n,) class ids.
        side: (n,) 0 for rows of the first data set, 1 for those of the second.
        fold: (n,) fold numbers.
    """
    right = total = majority = 0
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        for number in range(FOLDS):
            train, test = own[fold[own] != number], own[fold[own] == number]
            if len(np.unique(side[train])) < 2 or not len(test):
                continue
            masks = np.zeros((2, len(labels)), bool)
            masks[0, train], masks[1, test] = True, True
            right += (lexical.linear(x, side, masks[0], masks[1], 2).argmax(1) == side[test]).sum()
            majority += (side[test] == np.bincount(side[train]).argmax()).sum()
            total += len(test)
    return {"accuracy": float(right / max(1, total)), "majority": float(majority / max(1, total)), "rows": int(total)}


def marking_words(
    x: sparse.csr_matrix, vocabulary: Sequence[str], columns: np.ndarray, rows: np.ndarray
) -> list[tuple]:
    """Return (word, z-score of the log-odds) of the up to 20 most overrepresented words of some rows."""
    if not len(rows):
        return []
    own = np.asarray(x[rows].sum(0)).ravel()
    z = lexical.monroe(np.stack([own, np.asarray(x.sum(0)).ravel() - own], 1))[:, 0]
    order = np.argsort(-np.nan_to_num(z), kind="stable")[:20]
    return [(vocabulary[columns[i]], float(z[i])) for i in order.tolist() if z[i] > 2]
