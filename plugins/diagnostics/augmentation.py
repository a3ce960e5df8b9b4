"""Guided augmentation: extended training sets, and the failure rates of models trained on them.

The arms are M0, the training rows; M1, M0 with random rows of a pool; M2, M0 with the same number of rows selected by
specifications; M3, M0 with only the queries of the specifications, the baseline that selection must beat.

Shapes: n rows, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plugins.errors import check

from . import folds, specifications
from .specifications import Ranker, Specification

ARMS = {"M0": "training rows", "M1": "and random rows", "M2": "and selected rows", "M3": "and the queries alone"}


@dataclass(frozen=True)
class Arm:
    """A training set of one arm and seed.

    Attributes:
        name: key of :data:`ARMS`.
        seed: random seed of the sampled rows.
        texts: n training texts.
        labels: (n,) class ids of the texts.
        added: number of added rows.
        relevant: fraction of the selected rows that have the label of their specification; None if no rows were
            selected.
    """

    name: str
    seed: int
    texts: list[str]
    labels: np.ndarray
    added: int
    relevant: float | None = None


@dataclass(frozen=True)
class Evaluated:
    """The evaluation rows shared by all arms of a seed.

    Attributes:
        texts: held-out training rows, followed by the held-out texts of each specification.
        labels: class ids of the texts.
        parts: {name: slice of the texts}, for ``training`` and each specification.
    """

    texts: list[str]
    labels: np.ndarray
    parts: dict[str, slice]


def evaluated(texts: Sequence[str], labels: np.ndarray, classes: Sequence[str],
              specs: Sequence[Specification]) -> Evaluated:  # fmt: skip
    """Append the held-out texts of specifications to held-out training rows.

    Args:
        texts, labels: held-out training rows, and their class ids (n,).
        classes: K class names.
        specs: the specifications.

    Raises:
        UserError: a specification has no held-out texts, is named ``training``, or its label is not a class.
    """
    names = ", ".join(classes)
    everything, ids, parts = list(texts), list(labels), {"training": slice(0, len(texts))}
    for spec in specs:
        check(spec.held_out, f"specification {spec.name}: the key 'held_out' is missing; failures are counted on it")
        check(spec.label in classes, f"specification {spec.name}: no class {spec.label!r}; there are {names}")
        check(spec.name not in parts, f"specification {spec.name}: choose another name")
        parts[spec.name] = slice(len(everything), len(everything) + len(spec.held_out))
        everything += spec.held_out
        ids += [list(classes).index(spec.label)] * len(spec.held_out)
    return Evaluated(everything, np.array(ids), parts)


def split(labels: np.ndarray, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into training and held-out rows, stratified by label; return the row numbers of both.

    Raises:
        UserError: there are too few rows to hold out this fraction.
    """
    count = round(1 / held_out)
    own = folds.stratified(labels, count, seed=seed, source=f"--held-out {held_out:g}") == 0
    return np.flatnonzero(~own), np.flatnonzero(own)


def arms(train: tuple[Sequence[str], np.ndarray], pool: tuple[Sequence[str], np.ndarray], classes: Sequence[str],
         specs: Sequence[Specification], chosen: Mapping[str, np.ndarray], seed: int) -> list[Arm]:  # fmt: skip
    """Return the four training sets of a seed; pool rows keep their labels, queries get their specification's label.

    Args:
        train, pool: texts and class ids.
        classes: K class names.
        specs: specifications, which provide the queries of M3.
        chosen: pool rows selected for each specification, see :func:`.specifications.select`.
        seed: random seed of the rows of M1.
    """
    rows = np.unique(np.concatenate(list(chosen.values())))
    random = np.random.default_rng(seed).permutation(len(pool[0]))[: len(rows)]
    ids = {spec.name: list(classes).index(spec.label) for spec in specs}
    right = [(pool[1][numbers] == ids[name]).mean() for name, numbers in chosen.items()]
    queries = [(query, ids[spec.name]) for spec in specs for query in spec.queries]
    added: dict[str, tuple[list[str], Sequence[int]]] = {
        "M0": ([], []),
        "M1": ([pool[0][i] for i in random], pool[1][random].tolist()),
        "M2": ([pool[0][i] for i in rows], pool[1][rows].tolist()),
        "M3": ([query for query, _ in queries], [label for _, label in queries]),
    }
    return [
        Arm(name, seed, [*train[0], *texts], np.array([*train[1], *labels]), len(texts),
            float(np.mean(right)) if name == "M2" else None)
        for name, (texts, labels) in added.items()
    ]  # fmt: skip


def select(pool: Sequence[str], specs: Sequence[Specification], number: int, ranker: Ranker,
           method: str) -> dict[str, np.ndarray]:  # fmt: skip
    """Select pool rows for each specification, excluding the texts of the specifications.

    Args:
        pool: the texts to choose from.
        specs: the specifications.
        number: rows to select for each.
        ranker, method: see :func:`.specifications.select`.

    Raises:
        UserError: the pool has fewer than ``number`` other texts.
    """
    known = {text.strip() for spec in specs for text in (*spec.queries, *spec.held_out)}
    free = np.array([i for i, text in enumerate(pool) if text.strip() not in known])
    check(len(free) >= number, f"--number {number}: the pool has {len(free)} rows that no specification contains")
    found = specifications.select([pool[i] for i in free], specs, number, ranker, method)
    return {name: free[rows] for name, rows in found.items()}


def results(arm: Arm, answers: np.ndarray, on: Evaluated) -> list[dict]:
    """Return the failure rate on each specification and the accuracy on held-out training rows.

    Args:
        arm: the training set.
        answers: predicted class ids of ``on.texts``.
        on: evaluation rows.
    """
    wrong = answers != on.labels
    rows = [{"arm": arm.name, "seed": arm.seed, "added": arm.added, "relevant": arm.relevant, "on": name,
             "failure_rate": float(wrong[part].mean())} for name, part in on.parts.items()]  # fmt: skip
    mean = float(np.mean([row["failure_rate"] for row in rows[1:]]))
    return [*rows, {**rows[0], "on": "mean of specifications", "failure_rate": mean}]
