"""Inspect a data set without a model: sizes, duplicates, leaks, divergence of classes, informative words."""

from typing import Any

import numpy as np
from tqdm import tqdm

from plugins.errors import check

from . import divergence, duplicates, lexical
from .datasets import UNLABELED, Rows
from .divergence import WordCounts, tokens

SMALLEST = 10  # labeled rows of the first split
QUANTILES = (0, 0.25, 0.5, 0.75, 0.95, 1)


def inspect(rows: Rows, threshold: float = 0.8, draws: int = 20, seed: int = 0, recipe: str | None = None) -> dict:
    """Inspect a data set; return the argument of :func:`.inspection_report.write`.

    Args:
        rows: the data set; words, divergences and the probe are computed on its first split.
        threshold: minimum similarity of near duplicates.
        draws: number of label shuffles for the floor of the divergence.
        seed: random seed.
        recipe: ``gothate`` adds divergences computed by that published method.

    Raises:
        UserError: the first split has only one class, fewer than ten labeled rows, or no words.
    """
    train = np.flatnonzero((rows.splits == 0) & (rows.labels != UNLABELED))
    present, labels = np.unique(rows.labels[train], return_inverse=True)
    check(len(present) > 1, f"the split {rows.split_names[0]} has only one class; a diagnosis needs two")
    check(
        len(train) >= SMALLEST,
        f"the split {rows.split_names[0]} has {len(train)} labeled rows; {SMALLEST} or more are needed",
    )
    classes = [rows.classes[k] for k in present]
    found: dict[str, Any] = {
        "rows": rows,
        "train": train,
        "classes": classes,
        "sizes": sizes(rows),
        "lengths": lengths(rows),
    }
    found["duplicates"] = duplicates.find(duplicates.joined(rows.texts), threshold, seed)
    found["overlap"] = overlap(rows, found["duplicates"])
    sides = [counted([column[i] for i in train.tolist()], name)
             for column, name in zip(rows.texts, rows.columns, strict=True)]  # fmt: skip
    if len(sides) == 1:
        together = found["words"] = sides[0]
    else:
        parts, vocabulary = divergence.aligned(sides)
        together = WordCounts((parts[0] + parts[1]).tocsr(), vocabulary)
        found["words"] = lexical.presence_by_side(*sides)
    found["vocabulary"] = together.vocabulary
    check(together.vocabulary, f"the texts of the split {rows.split_names[0]} contain no words")
    steps = tqdm(total=3, desc="words and labels", leave=False, disable=None)
    found["divergence"] = divergence.class_divergence(together, labels, draws=draws, seed=seed)
    steps.update()
    found["associations"] = lexical.associations(found["words"].counts, labels, len(present))
    steps.update()
    found["probe"] = lexical.probe(found["words"].counts, labels, len(present), seed=seed)
    steps.close()
    if recipe == "gothate":
        found["gothate"] = divergence.gothate(together, labels)
    return found


def counted(texts: list[str], name: str) -> WordCounts:
    """Return texts as counts of words, with a progress bar."""
    bar = tqdm(texts, f"words of {name}", leave=False, disable=None)
    return divergence.count_words(map(tokens, bar))


def sizes(rows: Rows) -> list[dict]:
    """Return the rows of each split and class, and the entropy of the labels in bits."""
    result = []
    for number, name in enumerate(rows.split_names):
        labels = rows.labels[rows.splits == number]
        counts = np.bincount(labels[labels != UNLABELED], minlength=len(rows.classes))
        share = counts[counts > 0] / max(1, counts.sum())
        result.append({
            "split": name, "rows": len(labels), "unlabeled": int((labels == UNLABELED).sum()),
            "classes": dict(zip(rows.classes, counts.tolist(), strict=True)),
            "entropy_bits": float((share * np.log2(1 / share)).sum()) if len(share) else None,
        })  # fmt: skip
    return result


def lengths(rows: Rows) -> list[dict]:
    """Return quantiles of the lengths of each column's texts, in words between white space, by split and class."""
    result = []
    for column, texts in zip(rows.columns, rows.texts, strict=True):
        words = np.fromiter((len(text.split()) for text in texts), np.int64, len(texts))
        for number, split in enumerate(rows.split_names):
            for k in (None, *range(len(rows.classes))):
                own = words[(rows.splits == number) & (True if k is None else rows.labels == k)]
                if len(own):
                    values = np.quantile(own, QUANTILES).tolist()
                    result.append({"column": column, "split": split, "class": None if k is None else rows.classes[k],
                                   "quantiles": values})  # fmt: skip
    return result


def overlap(rows: Rows, found: duplicates.Duplicates) -> dict:
    """Count duplicates within and across splits, and find groups with conflicting labels.

    ``across`` counts the rows of each later split that have a duplicate (exact, or exact and near) in an earlier split.
    ``conflicts`` are groups of rows with at least two labels.
    """
    labeled = rows.labels != UNLABELED
    result: dict[str, Any] = {"within": [], "across": []}
    for kind, groups in (("exact", found.exact), ("near", found.groups)):
        for number, name in enumerate(rows.split_names):
            own = groups[rows.splits == number]
            repeated = len(own) - len(np.unique(own))
            result["within"].append({"split": name, "kind": kind, "rows": len(own), "repeated": repeated})
            for later in range(number + 1, len(rows.split_names)):
                other = groups[rows.splits == later]
                result["across"].append({"from": name, "to": rows.split_names[later], "kind": kind, "rows": len(other),
                                         "leaked": int(np.isin(other, own).sum())})  # fmt: skip
        clashing = conflicting(groups[labeled], rows.labels[labeled])
        result[f"{kind}_conflicts"] = int(len(clashing))
    return result


def conflicting(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the groups of rows with different labels."""
    pairs = np.unique(np.stack([groups, labels], 1), axis=0)
    names, counts = np.unique(pairs[:, 0], return_counts=True)
    return names[counts > 1]
