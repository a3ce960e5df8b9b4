"""Guided augmentation: training sets with added rows, and how often models of them fail on a specification.

The arms: M0, the training rows; M1, with random rows of a pool; M2, with as many rows selected by specifications; M3,
with the queries of the specifications alone, the baseline that selection has to beat.

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
    """A training set of one draw.

    Attributes:
        name: of :data:`ARMS`.
        seed: of the draw.
        texts: n texts to train on.
        labels: (n,) their class ids.
        added: rows that were added.
        relevant: share of the added rows that have the label of the specification that they were selected for; None
            where nothing was selected.
    """

    name: str
    seed: int
    texts: list[str]
    labels: np.ndarray
    added: int
    relevant: float | None = None


@dataclass(frozen=True)
class Evaluated:
    """The rows that all arms of a draw are evaluated on.

    Attributes:
        texts: held-out training rows, then the held-out texts of each specification.
        labels: their class ids.
        parts: {name: slice of them}, ``training`` and the names of specifications.
    """

    texts: list[str]
    labels: np.ndarray
    parts: dict[str, slice]


def evaluated(texts: Sequence[str], labels: np.ndarray, classes: Sequence[str],
              specs: Sequence[Specification]) -> Evaluated:  # fmt: skip
    """Return held-out training rows with the held-out texts of specifications.

    Raises:
        UserError: a specification has no held-out texts, is called ``training``, or its label is not a class.
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
    """Return the numbers of rows to train on, and of those held out, in the same proportions of labels."""
    count = round(1 / held_out)
    own = folds.stratified(labels, count, seed=seed) == 0
    return np.flatnonzero(~own), np.flatnonzero(own)


def arms(train: tuple[Sequence[str], np.ndarray], pool: tuple[Sequence[str], np.ndarray], classes: Sequence[str],
         specs: Sequence[Specification], chosen: Mapping[str, np.ndarray], seed: int) -> list[Arm]:  # fmt: skip
    """Return the four training sets of a draw; added rows have the pool's labels, queries their specification's.

    Args:
        train, pool: texts and class ids.
        classes: K names.
        specs: whose queries M3 adds.
        chosen: rows of the pool by specification, see :func:`.specifications.select`.
        seed: of the random rows.
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
    """Return rows of the pool by specification, without texts that a specification itself contains."""
    known = {text.strip() for spec in specs for text in (*spec.queries, *spec.held_out)}
    free = np.array([i for i, text in enumerate(pool) if text.strip() not in known])
    check(len(free) >= number, f"--number {number}: the pool has {len(free)} rows that no specification contains")
    found = specifications.select([pool[i] for i in free], specs, number, ranker, method)
    return {name: free[rows] for name, rows in found.items()}


def results(arm: Arm, answers: np.ndarray, on: Evaluated) -> list[dict]:
    """Return the failure rate on each specification and the accuracy on held-out training rows.

    Args:
        arm: what was trained on.
        answers: class ids that the model gives to ``on.texts``.
        on: evaluated rows.
    """
    wrong = answers != on.labels
    rows = [{"arm": arm.name, "seed": arm.seed, "added": arm.added, "relevant": arm.relevant, "on": name,
             "failure_rate": float(wrong[part].mean())} for name, part in on.parts.items()]  # fmt: skip
    mean = float(np.mean([row["failure_rate"] for row in rows[1:]]))
    return [*rows, {**rows[0], "on": "mean of specifications", "failure_rate": mean}]
