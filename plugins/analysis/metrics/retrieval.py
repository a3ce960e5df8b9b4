"""Exact neighbor search by cosine in blocks of rows, and retrieval metrics of labeled vectors.

Memory is that of one block of scores, (block, N), not of the full (N, N) matrix.
"""

from collections.abc import Iterator

import numpy as np

from plugins.errors import UserError

BLOCK = 1024  # rows of queries at a time
NEIGHBORS = (1, 5, 20)  # k of the kNN accuracies
CUT = 10  # nDCG@CUT
SQUARED = 1e-15, 1e15  # lengths of float32 vectors whose squares neither vanish nor overflow


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return rows (N, d) scaled to length one, as float32; zero rows stay zero."""
    vectors = np.asarray(vectors, np.float32)
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    odd = ((norm < SQUARED[0]) | (norm > SQUARED[1]))[:, 0]
    if odd.any():  # scaled by their largest value first, as their squares are not float32 numbers
        vectors = vectors.copy()
        vectors[odd] /= np.maximum(np.abs(vectors[odd]).max(1, keepdims=True), np.finfo(np.float32).tiny)
        norm[odd] = np.linalg.norm(vectors[odd], axis=1, keepdims=True)
    return vectors / np.where(norm > 0, norm, 1)


def search(queries: np.ndarray, vectors: np.ndarray, k: int, block: int = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and cosines, (Q, k) each, of the k most similar of N vectors, the best first.

    Equal cosines are ordered by index.

    Args:
        queries: (Q, d).
        vectors: (N, d).

    Raises:
        UserError: widths differ, or k is not between 1 and N.
    """
    if queries.shape[1] != vectors.shape[1]:
        raise UserError(f"queries have {queries.shape[1]} dimensions and vectors {vectors.shape[1]}")
    if not 1 <= k <= len(vectors):
        raise UserError(f"k {k}: give a number between 1 and the {len(vectors)} vectors")
    queries, vectors = unit(queries), unit(vectors)
    index, cosine = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        best, index[rows] = top(queries[rows] @ vectors.T, k)
        cosine[rows] = best
    return index, cosine


def top(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k highest scores of each row (B, N), high to low, and their columns, (B, k) each."""
    last = scores.shape[1] - k
    columns = np.argpartition(scores, last, axis=1)[:, last:] if last else np.tile(np.arange(k), (len(scores), 1))
    columns.sort(axis=1)  # so that the stable sort prefers the lower index among ties
    found = np.take_along_axis(scores, columns, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(columns, order, 1)


def class_metrics(vectors: np.ndarray, labels: np.ndarray, neighbors: tuple = NEIGHBORS) -> dict[str, float]:
    """Return retrieval metrics of labeled vectors, each row searched among all others (leave one out).

    Args:
        vectors: (N, d).
        labels: (N,) class ids.
        neighbors: the k of the kNN accuracies; those above N - 1 are left out.

    Returns:
        ``knn_accuracy_K`` (majority of the K nearest, ties by the nearer class), and over the rows whose class has
        another row: ``r_precision``, ``map_at_r`` (Musgrave et al., 2020, section 3.2) and ``ndcg_at_10``.

    Raises:
        UserError: fewer than two rows, or no class with two rows.
    """
    classes, labels, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if len(labels) < 2 or counts.max() < 2:
        raise UserError(f"{len(labels)} rows in {len(classes)} classes: retrieval needs a class with two rows")
    neighbors = [k for k in neighbors if k < len(labels)]
    depth = min(max([*neighbors, CUT, counts.max() - 1]), len(labels) - 1)
    hits, sums = {k: 0 for k in neighbors}, np.zeros(3)
    for rows, found in leave_one_out(vectors, depth):
        theirs, own = labels[found], labels[rows]  # (B, depth), (B,)
        for k in neighbors:
            hits[k] += int((majority(theirs[:, :k], len(classes)) == own).sum())
        sums += ranking_sums(theirs == own[:, None], counts[own] - 1)
    searched = int(counts[counts > 1].sum())
    names = ("r_precision", "map_at_r", f"ndcg_at_{CUT}")
    accuracies = {f"knn_accuracy_{k}": hits[k] / len(labels) for k in neighbors}
    return accuracies | {name: float(value / searched) for name, value in zip(names, sums, strict=True)}


def leave_one_out(vectors: np.ndarray, k: int, block: int = BLOCK) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows (B,) and the indices (B, k) of their nearest other rows, near to far, block by block."""
    vectors = unit(vectors)
    for start in range(0, len(vectors), block):
        rows = np.arange(start, min(start + block, len(vectors)))
        scores = vectors[rows] @ vectors.T  # (B, N)
        scores[np.arange(len(rows)), rows] = -np.inf
        yield rows, top(scores, k)[1]


def majority(classes: np.ndarray, number: int) -> np.ndarray:
    """Return the most frequent class of each row (B, k) of neighbors; of equally frequent ones that of the nearer."""
    votes = np.zeros((len(classes), number))
    for place in range(classes.shape[1]):  # a bonus exceeds all later ones together; all are below a vote
        votes[np.arange(len(classes)), classes[:, place]] += 1 + 0.5 ** (place + 1)
    return votes.argmax(1)


def ranking_sums(relevant: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return R-precision, AP@R and nDCG@10, each summed over the rows that have something relevant, (3,).

    Args:
        relevant: (B, K) boolean, near to far.
        number: (B,) how many relevant rows there are (R).
    """
    some = number > 0
    relevant, number = relevant[some], number[some]
    places = np.arange(1, relevant.shape[1] + 1)
    among = relevant & (places <= number[:, None])  # the first R
    precision = relevant.cumsum(1) / places
    discount = 1 / np.log2(places + 1)
    gained = (relevant * discount)[:, :CUT].sum(1)
    ideal = discount[:CUT].cumsum()[np.minimum(number, min(CUT, len(places))) - 1]
    values = among.sum(1) / number, (precision * among).sum(1) / number, gained / ideal
    return np.array([value.sum() for value in values])


# Triplets


def random_triplets(labels: np.ndarray, seed: int = 1) -> np.ndarray:
    """Return one (anchor, positive, negative) per row whose class has another row, drawn at random: (T, 3) indices.

    Raises:
        UserError: no class with two rows, or one class only.
    """
    draw, labels = np.random.default_rng(seed), np.asarray(labels)
    rows = []
    for label in np.unique(labels):
        members, others = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        if len(members) < 2 or not len(others):
            continue
        shift = draw.integers(1, len(members), len(members))  # never the anchor itself
        positives = members[(np.arange(len(members)) + shift) % len(members)]
        rows.append(np.stack([members, positives, draw.choice(others, len(members))], 1))
    if not rows:
        raise UserError("triplets need two classes, one of them with two rows")
    return np.concatenate(rows)


def hard_triplets(vectors: np.ndarray, labels: np.ndarray, candidates: int = 10, seed: int = 1) -> np.ndarray:
    """Return :func:`random_triplets` whose negative is the nearest to the anchor of several drawn at random: (T, 3).

    Made once from the vectors of the untuned model, they compare epochs and models where random negatives saturate.

    Args:
        vectors: (N, d).
        labels: (N,).
        candidates: number of negatives drawn for each anchor.
    """
    draw, labels, vectors = np.random.default_rng(seed + 1), np.asarray(labels), unit(vectors)
    triplets = random_triplets(labels, seed)
    negatives = {label: np.flatnonzero(labels != label) for label in np.unique(labels)}
    for row in triplets:
        others = draw.choice(negatives[labels[row[0]]], candidates)
        row[2] = others[(vectors[others] @ vectors[row[0]]).argmax()]
    return triplets


def triplet_accuracy(vectors: np.ndarray, triplets: np.ndarray) -> float:
    """Return the share of triplets (T, 3) whose positive is closer by cosine than the negative; a tie is wrong."""
    vectors = unit(vectors)
    anchor, positive, negative = vectors[triplets.T]
    return float(((anchor * positive).sum(1) > (anchor * negative).sum(1)).mean())
