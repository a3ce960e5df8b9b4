"""Batches of P classes x K rows, for losses that compare the rows of a batch by their classes.

Every batch has at least two classes with two rows, so that it always has a loss. Every row is used in every epoch,
rows of the largest class once, rows of smaller classes repeatedly where a batch needs them.
"""

import logging

import numpy as np

from plugins.errors import UserError

logger = logging.getLogger(__name__)


def shape(batch_size: int, classes: int, per_batch: int | None = None, rows: int | None = None) -> tuple[int, int]:
    """Return (P, K): how many classes a batch has, and how many rows of each.

    Args:
        batch_size: maximum number of rows of a batch.
        classes: how many classes have two rows.
        per_batch: P, if given.
        rows: K, if given.

    Raises:
        UserError: fewer than two classes or two rows of each, or they do not fit.
    """
    if rows is not None and rows < 2:
        raise UserError(f"--rows-per-class {rows}: a row needs another one of its class; give 2 or more")
    if per_batch is not None and not 2 <= per_batch <= classes:
        raise UserError(f"--classes-per-batch {per_batch}: give 2 to {classes}, the classes with two rows")
    p = per_batch or min(classes, batch_size // (rows or 2))
    k = rows or batch_size // max(p, 1)
    if p < 2 or k < 2 or p * k > batch_size:
        raise UserError(f"--batch-size {batch_size}: {max(p, 2)} classes x {max(k, 2)} rows do not fit; raise it")
    return p, k


def by_class(labels: np.ndarray, p: int, k: int, draw: np.random.Generator) -> list[np.ndarray]:
    """Return the batches of one epoch, arrays of row numbers.

    Args:
        labels: (N,) class ids, at least two of which have two rows (see :func:`check_classes`).
        p: classes per batch.
        k: rows per class.
        draw: random numbers.
    """
    queues = {}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) > 1:
            queues[int(label)] = _Queue(rows, k, draw)
    needed = sum(len(queue) for queue in queues.values())
    count = max(max(len(queue) for queue in queues.values()), -(-needed // p))
    batches = [_next_batch(queues, p, count - done, draw) for done in range(count)]
    return _merge_single_classes(batches)


def check_classes(labels: np.ndarray, name: str = "the rows") -> int:
    """Return how many classes have two rows, and warn of the others, whose rows cannot be used.

    Args:
        labels: (N,) class ids.
        name: name of the rows in messages.

    Raises:
        UserError: fewer than two.
    """
    _, counts = np.unique(labels, return_counts=True)
    usable, single = int((counts > 1).sum()), int((counts == 1).sum())
    if usable < 2:
        raise UserError(
            f"{name}: {usable} of {len(counts)} classes have two rows; a loss that compares classes needs two such "
            "classes, so add rows, or choose a loss of pairs"
        )
    if single:
        logger.warning("%s: %d classes have one row, which has no positive; these rows are left out", name, single)
    return usable


class _Queue:
    """Iterate over the rows of one class in chunks of about K; reshuffle when all are used."""

    def __init__(self, rows: np.ndarray, k: int, draw: np.random.Generator):
        self.rows, self.draw = rows, draw
        # Chunk sizes differ by at most one and are at least two, so the last chunk never has a single row.
        self.parts = max(1, min(-(-len(rows) // k), len(rows) // 2))
        self.chunks, self.repeats = self._shuffled(), 0

    def __len__(self) -> int:
        return len(self.chunks) if not self.repeats else 0

    def _shuffled(self) -> list[np.ndarray]:
        return np.array_split(self.draw.permutation(self.rows), self.parts)

    def pop(self) -> np.ndarray:
        if not self.chunks:
            self.chunks, self.repeats = self._shuffled(), self.repeats + 1
        return self.chunks.pop()


def _next_batch(queues: dict, p: int, left: int, draw: np.random.Generator) -> list[np.ndarray]:
    """Return the chunks of a batch: classes needed in every remaining batch, then others by rows left, then repeats."""
    waiting = [label for label, queue in queues.items() if len(queue)]
    chosen = [label for label in waiting if len(queues[label]) >= left]
    others = [label for label in waiting if label not in chosen]
    if others and len(chosen) < p:
        weights = np.array([len(queues[label]) for label in others], float)
        number = min(p - len(chosen), len(others))
        chosen += draw.choice(others, number, replace=False, p=weights / weights.sum()).tolist()
    largest = max(queue.parts for queue in queues.values())
    again = [label for label, queue in queues.items() if label not in chosen and queue.parts < largest]
    if again and len(chosen) < p:
        chosen += draw.choice(again, min(p - len(chosen), len(again)), replace=False).tolist()
    return [queues[label].pop() for label in chosen]


def _merge_single_classes(batches: list) -> list[np.ndarray]:
    """Merge a last batch of a single class, which classes of equal size can leave, into the batch before it."""
    merged: list[list[np.ndarray]] = []
    for chunks in batches:
        if len(chunks) < 2 and merged:
            merged[-1] = merged[-1] + chunks
        elif chunks:
            merged.append(chunks)
    return [np.concatenate(chunks) for chunks in merged]
