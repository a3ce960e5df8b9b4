"""The metrics of embeddings that training logs, for each kind of rows: arrays in, numbers out."""

import numpy as np

from plugins.analysis.metrics import clustering, retrieval
from plugins.analysis.metrics.anisotropy import isoscore, mean_cosine, partition_score
from plugins.data.embedding import specs

SEEDS, STARTS = 2, 3  # of k-means during training: random seeds, restarts
LEAST = 2  # rows that any metric needs
ROUNDING = 1e-6  # equal cosines differ by less in float32


def scores(kind: str, vectors: np.ndarray, labels: np.ndarray | None, seed: int = 1) -> dict[str, float]:
    """Return the metrics of some rows, NaN where they have none (one class, one row).

    Args:
        kind: kind of rows, see :data:`plugins.data.embedding.specs.KINDS`.
        vectors: (K, N, d), the embeddings of K texts per row.
        labels: (N,) class ids or scores, or None.
        seed: random seed of the random triplets.
    """
    if vectors.shape[1] < LEAST:
        return dict.fromkeys(specs.METRICS[kind], float("nan"))
    if kind == specs.LABELED:
        assert labels is not None
        return labeled(vectors[0], labels, seed)
    if kind == specs.TEXTS:
        return {"isoscore": isoscore(vectors[0]), "mean_cosine": mean_cosine(vectors[0])}
    if kind in (specs.TRIPLETS, specs.MARGINS):
        rows = np.arange(3 * vectors.shape[1]).reshape(3, -1).T
        return {"triplet_accuracy": retrieval.triplet_accuracy(np.concatenate(vectors), rows)}
    if kind == specs.PAIRS:
        return found_partners(*vectors)
    assert labels is not None  # the two kinds of labeled pairs
    cosines = (retrieval.unit(vectors[0]) * retrieval.unit(vectors[1])).sum(1)
    return {specs.LABELED_PAIRS: similar_pairs, specs.SCORED_PAIRS: correlations}[kind](cosines, labels)


def labeled(vectors: np.ndarray, labels: np.ndarray, seed: int = 1) -> dict[str, float]:
    """Return the metrics of vectors (N, d) with classes (N,); NaN for kNN accuracies with fewer than k other rows."""
    counts = np.bincount(labels)
    if counts.max() < 2 or (counts > 0).sum() < 2:
        return dict.fromkeys(specs.METRICS[specs.LABELED], float("nan"))
    near = retrieval.class_metrics(vectors, labels)
    clusters = clustering.clustering_metrics(vectors, labels, SEEDS, STARTS)
    triplets = retrieval.triplet_accuracy(vectors, retrieval.random_triplets(labels, seed))
    found = near | clusters | {"knn_accuracy": near["knn_accuracy_1"], "triplet_accuracy": triplets}
    found |= {
        "isoscore": isoscore(vectors), "partition_score": partition_score(vectors), "mean_cosine": mean_cosine(vectors)
    }  # fmt: skip
    return {name: found.get(name, float("nan")) for name in specs.METRICS[specs.LABELED]}


def found_partners(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Return how often the partner (in b, (N, d)) of a row (of a) is the nearest, and the mean of 1 / its rank.

    Of equally near rows each may be the first: the values are expected ones, 1 / N where all vectors are equal.
    """
    a, b = retrieval.unit(a), retrieval.unit(b)
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, len(b) + 1))])  # sums of 1 / rank
    first, inverse = 0.0, 0.0
    for start in range(0, len(a), retrieval.BLOCK):
        scores = a[start : start + retrieval.BLOCK] @ b.T
        above = scores - scores[np.arange(len(scores)), start + np.arange(len(scores))][:, None]
        nearer, equal = (above > ROUNDING).sum(1), (np.abs(above) <= ROUNDING).sum(1)  # the partner is equal to itself
        first += ((nearer == 0) / equal).sum()
        inverse += ((harmonic[nearer + equal] - harmonic[nearer]) / equal).sum()
    return {"accuracy_at_1": float(first / len(a)), "mrr": float(inverse / len(a))}


def similar_pairs(cosines: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the average precision of cosines (N,) for pairs of the last class; NaN without pairs of both kinds."""
    from sklearn.metrics import average_precision_score

    similar = labels == labels.max()
    if similar.all():
        return {"average_precision": float("nan")}
    return {"average_precision": float(average_precision_score(similar, cosines))}


def correlations(cosines: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return the rank and the linear correlation of cosines (N,) with scores (N,); 0 if either is constant."""
    from scipy.stats import pearsonr, spearmanr

    if np.ptp(cosines) < ROUNDING or np.ptp(scores) == 0:
        return {"spearman": 0.0, "pearson": 0.0}
    return {"spearman": float(spearmanr(cosines, scores)[0]), "pearson": float(pearsonr(cosines, scores)[0])}
