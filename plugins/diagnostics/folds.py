"""Folds for cross-fitting, stratified by label; duplicates share a fold to prevent leaks into the training set."""

import numpy as np

from plugins.errors import check


def stratified(
    labels: np.ndarray, folds: int, groups: np.ndarray | None = None, seed: int = 0, *, source: str | None = None
) -> np.ndarray:
    """Return the fold of each row, (n,) int16 from 0 to ``folds`` - 1.

    Groups of several rows are assigned first, by decreasing size, each to the fold with the fewest rows of its labels.
    Single rows are then distributed label by label.

    Args:
        labels: (n,) class ids, or scores, which are binned by deciles.
        folds: number of folds, at least 2.
        groups: (n,) group ids; a group is assigned to one fold. None: each row is its own group.
        seed: random seed of the shuffling.
        source: what determines the number of folds, for error messages; None: ``--folds``.

    Raises:
        UserError: there are fewer groups than folds, or shapes differ.
    """
    labels = np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    check(groups.shape == labels.shape, f"groups: {len(groups)} rows, but there are {len(labels)} labels")
    if np.issubdtype(labels.dtype, np.floating):
        labels = np.searchsorted(np.quantile(labels, np.linspace(0.1, 0.9, 9)), labels)
    _, members = np.unique(groups, return_inverse=True)
    codes = np.unique(labels, return_inverse=True)[1]
    count, kinds = members.max() + 1, codes.max() + 1
    source = source or f"--folds {folds}"
    check(
        2 <= folds <= count,
        f"{source}: {folds} folds; at least 2, and at most as many as groups of duplicates, {count}",
    )
    table = np.bincount(members * kinds + codes, minlength=count * kinds).reshape(count, kinds)  # (G, K)
    random = np.random.default_rng(seed)
    fold_of = np.empty(count, np.int16)
    have = np.zeros((folds, kinds))  # rows so far
    size, weight = table.sum(1), 1 / table.sum(0)
    large = random.permutation(np.flatnonzero(size > 1))
    for done, group in enumerate(large[np.argsort(-size[large], kind="stable")].tolist()):
        fold = (have @ (weight * table[group])).argmin()
        empty = np.flatnonzero(have.sum(1) == 0)
        if len(empty) >= count - done:  # the groups that are left must fill them
            fold = empty[0]
        fold_of[group] = fold
        have[fold] += table[group]
    for kind in range(kinds):
        single = random.permutation(np.flatnonzero((size == 1) & (table[:, kind] == 1)))
        dealt = _levelled(have[:, kind].astype(np.int64), have.sum(1), len(single))
        fold_of[single] = np.repeat(np.arange(folds), dealt)
        have[:, kind] += dealt
    return fold_of[members]


def _levelled(have: np.ndarray, filled: np.ndarray, number: int) -> np.ndarray:
    """Return the rows that each fold receives, ``number`` in total, to make the folds as equal as possible."""
    dealt = np.zeros(len(have), np.int64)
    order = np.argsort(have, kind="stable")
    for place in range(len(order)):  # raise the lowest folds to the next higher one
        height = have[order[place + 1]] if place + 1 < len(order) else np.iinfo(np.int64).max
        low = order[: place + 1]
        room = int((height - have[low] - dealt[low]).clip(min=0).sum()) if place + 1 < len(order) else number
        use = min(number, room)
        share, rest = divmod(use, len(low))
        dealt[low] += share
        dealt[low[np.argsort((filled + dealt)[low], kind="stable")[:rest]]] += 1
        number -= use
        if not number:
            break
    return dealt


def small_classes(labels: np.ndarray, folds: int) -> list[int]:
    """Return the class ids with fewer rows than folds, which some folds lack."""
    ids, counts = np.unique(labels, return_counts=True)
    return ids[counts < folds].tolist()
