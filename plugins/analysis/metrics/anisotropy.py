"""Isotropy of embeddings: how much of the space they use, and how evenly.

The mean cosine measures the mean vector, not the shape of the cloud: a 16-dimensional Gaussian has .00, the same cloud
shifted by 3 has .90 and its IsoScore stays .99; one dominant dimension leaves the mean cosine at .00 and takes IsoScore
to .02. So several measures are given.
"""

import numpy as np

from plugins.analysis.metrics.retrieval import unit
from plugins.errors import UserError

PAIRS = 1_000_000  # maximum number of row pairs for the uniformity


def geometry(vectors: np.ndarray) -> dict[str, float]:
    """Return the mean cosine, partition score, IsoScore, effective rank, uniformity and mean norm of (N, d).

    Raises:
        UserError: there are fewer than two rows.
    """
    if len(vectors) < 2:
        raise UserError(f"{len(vectors)} vectors: their geometry needs two")
    measures = (mean_cosine, partition_score, isoscore, effective_rank, uniformity)
    found = {measure.__name__: measure(vectors) for measure in measures}
    return found | {"mean_norm": float(np.linalg.norm(np.asarray(vectors, np.float64), axis=1).mean())}


def mean_cosine(vectors: np.ndarray) -> float:
    """Return the mean cosine of distinct rows of (N, d), in O(N d); zero rows have cosine zero (Ethayarajh, 2019)."""
    u = unit(vectors).astype(np.float64)
    n, total = len(u), u.sum(0)
    return float((total @ total - (u * u).sum()) / (n * (n - 1)))


def partition_score(vectors: np.ndarray) -> float:
    """Return min / max over eigenvectors c of X'X of sum_x exp(c.x) (Mu and Viswanath, 2018, section 2.1).

    1 for an isotropic cloud, 0 for a line. Each eigenvector is tried in both directions.
    """
    x = np.asarray(vectors, np.float64)
    _, axes = np.linalg.eigh(x.T @ x)
    projected = x @ axes
    logs = np.concatenate([_log_sum_exp(projected), _log_sum_exp(-projected)])
    return float(np.exp(logs.min() - logs.max()))


def _log_sum_exp(x: np.ndarray) -> np.ndarray:
    top = x.max(0)
    return top + np.log(np.exp(x - top).sum(0))


def isoscore(vectors: np.ndarray) -> float:
    """Return how many dimensions are used evenly, from 0 (one) to 1 (all) (Rudman et al., 2022, algorithm 1)."""
    variance = _variances(vectors)
    d = len(variance)
    if d == 1 or not variance.any():
        return 0.0
    variance = np.sqrt(d) * variance / np.linalg.norm(variance)
    defect = np.linalg.norm(variance - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    share = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2  # fraction of the dimensions used
    return float((d * share - 1) / (d - 1))


def effective_rank(vectors: np.ndarray) -> float:
    """Return exp of the entropy of the normalized eigenvalues of the covariance (Roy and Vetterli, 2007)."""
    p = _variances(vectors)
    if not p.sum():
        return 0.0
    p = p[p > 0] / p.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _variances(vectors: np.ndarray) -> np.ndarray:
    """Return the eigenvalues (d,) of the covariance of (N, d)."""
    x = np.asarray(vectors, np.float64)
    x = x - x.mean(0)
    return np.linalg.eigvalsh(x.T @ x / (len(x) - 1)).clip(0)


def uniformity(vectors: np.ndarray, seed: int = 1) -> float:
    """Return log E exp(-2 |u - v|^2) over distinct normalized rows (Wang and Isola, 2020, eq. 2); lower: more even.

    More than a million pairs are sampled.
    """
    u = unit(vectors).astype(np.float64)
    n = len(u)
    if n * (n - 1) // 2 <= PAIRS:
        i, j = np.triu_indices(n, 1)
    else:
        draw = np.random.default_rng(seed)
        i = draw.integers(0, n, PAIRS)
        j = (i + draw.integers(1, n, PAIRS)) % n
    cosines = np.concatenate([(u[a] * u[b]).sum(1) for a, b in zip(_split(i), _split(j), strict=True)])
    return float(np.log(np.exp(-2 * (2 - 2 * cosines)).mean()))


def _split(indices: np.ndarray) -> list[np.ndarray]:
    return np.array_split(indices, max(1, len(indices) // 50_000))


def whiten(vectors: np.ndarray, components: int = 1) -> np.ndarray:
    """Return vectors (N, d) without their mean and top principal components (Mu and Viswanath, 2018, algorithm 1).

    Raises:
        UserError: ``components`` is not between 0 and d.
    """
    x = np.asarray(vectors, np.float64)
    if not 0 <= components <= x.shape[1]:
        raise UserError(f"--whiten {components}: give a number of components between 0 and {x.shape[1]}")
    x = x - x.mean(0)
    _, axes = np.linalg.eigh(x.T @ x)
    axes = axes[:, x.shape[1] - components :]
    return (x - x @ axes @ axes.T).astype(np.float32)
