"""Agreement of clusters with classes, with and without correction for chance.

v-measure grows with the number of clusters: random labels on 200 rows of 4 classes score .007 with 2 clusters and .167
with 50. AMI and ARI are zero for random labels (Vinh et al., 2010; Hubert and Arabie, 1985).
"""

import contextlib

import numpy as np

from plugins.errors import UserError

LARGE, SAMPLE, SAMPLES = 100_000, 32_768, 10  # rows beyond which samples are clustered
SCORES = ("v_measure", "homogeneity", "completeness", "ami", "ari")


def agreement(classes: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return v-measure, homogeneity, completeness, AMI and ARI of (N,) classes and (N,) clusters."""
    from sklearn import metrics

    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(classes, clusters)
    corrected = metrics.adjusted_mutual_info_score(classes, clusters), metrics.adjusted_rand_score(classes, clusters)
    values = (v_measure, homogeneity, completeness, *corrected)
    return {name: float(value) for name, value in zip(SCORES, values, strict=True)}


def k_means(vectors: np.ndarray, clusters: int, seed: int = 0, starts: int = 10) -> np.ndarray:
    """Return the cluster ids (N,) of k-means on one thread, since its result moves with the number of threads.

    Args:
        vectors: (N, d).
        clusters: number of clusters.
        seed: random seed of the initial centers.
        starts: initializations, of which the best is kept.
    """
    from sklearn.cluster import KMeans

    with _one_thread():
        return KMeans(clusters, n_init=starts, random_state=seed).fit_predict(np.asarray(vectors, np.float32))


def clustering_metrics(
    vectors: np.ndarray, labels: np.ndarray, seeds: int = 5, starts: int = 10, clusters: int | None = None
) -> dict[str, float]:
    """Return the mean of :func:`agreement` over k-means of several seeds, and each deviation as ``NAME_std``.

    Above 100,000 rows, mini-batch k-means clusters 10 samples of 32,768 rows.

    Args:
        vectors: (N, d).
        labels: (N,) class ids.
        seeds: number of clusterings.
        starts: initializations of each, of which the best is kept.
        clusters: number of clusters; default: the number of classes.

    Raises:
        UserError: fewer rows than clusters.
    """
    labels = np.asarray(labels)
    clusters = clusters or len(np.unique(labels))
    if len(labels) < clusters:
        raise UserError(f"{len(labels)} rows are too few for {clusters} clusters")
    if len(labels) > LARGE:
        runs = [_of_a_sample(vectors, labels, clusters, seed) for seed in range(SAMPLES)]
    else:
        runs = [agreement(labels, k_means(vectors, clusters, seed, starts)) for seed in range(seeds)]
    found: dict[str, float] = {}
    for name in SCORES:
        values = [run[name] for run in runs]
        found |= {name: float(np.mean(values)), f"{name}_std": float(np.std(values))}
    return found


def _of_a_sample(vectors: np.ndarray, labels: np.ndarray, clusters: int, seed: int) -> dict[str, float]:
    from sklearn.cluster import MiniBatchKMeans

    rows = np.random.default_rng(seed).choice(len(labels), SAMPLE, replace=False)
    with _one_thread():
        model = MiniBatchKMeans(clusters, n_init=3, random_state=seed)
        found = model.fit_predict(np.asarray(vectors[rows], np.float32))
    return agreement(labels[rows], found)


def _one_thread() -> contextlib.AbstractContextManager:
    # scikit-learn requires it; it has neither types nor stubs
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1)
