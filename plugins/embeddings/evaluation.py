"""Evaluate vectors of labeled texts against baselines: the untuned model, mean word vectors, TF-IDF."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.analysis.metrics import anisotropy, clustering, embedding, retrieval
from plugins.data.embedding import specs, triplets
from plugins.errors import UserError
from plugins.files import write_json, write_text
from plugins.tables import markdown

WORDS, TFIDF = "mean of word vectors", "TF-IDF"
COMPONENTS = 256  # dimensions of the TF-IDF vectors after truncated SVD
SHOWN = ("knn_accuracy_1", "map_at_r", "v_measure", "ami", "ari", "random_triplets", "hard_triplets", "isoscore")


def evaluate(vectors: np.ndarray, labels: np.ndarray, hard: np.ndarray, seeds: int = 5) -> dict[str, float]:
    """Return all metrics of vectors.

    Args:
        vectors: (N, d).
        labels: (N,) class ids.
        hard: (T, 3) triplets, returned by :func:`plugins.analysis.metrics.retrieval.hard_triplets`.
        seeds: number of clusterings to average over.
    """
    accuracies = {
        "random_triplets": retrieval.triplet_accuracy(vectors, retrieval.random_triplets(labels)),
        "hard_triplets": retrieval.triplet_accuracy(vectors, hard),
    }
    clusters = clustering.clustering_metrics(vectors, labels, seeds)
    return retrieval.class_metrics(vectors, labels) | clusters | accuracies | anisotropy.geometry(vectors)


def evaluate_rows(kind: str, vectors: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
    """Return the metrics of pairs, triplets or texts (the rank correlation of scored pairs, for example), and geometry.

    Args:
        kind: kind of rows, see :data:`plugins.data.embedding.specs.KINDS`.
        vectors: (K * N, d), the vectors of all first texts, then those of all second ones.
        labels: (N,) class ids or scores, or None.

    Raises:
        UserError: there are fewer than two vectors.
    """
    columns = vectors.reshape(specs.TEXTS_PER_ROW[kind], -1, vectors.shape[1])  # (K, N, d)
    return embedding.scores(kind, columns, labels) | anisotropy.geometry(vectors)


def check_classes(labels: np.ndarray, source: str) -> None:
    """Raise an error that names ``source`` if the classes (N,) of its rows have no triplet."""
    sizes = np.unique(labels, return_counts=True)[1]
    if len(sizes) < 2 or sizes.max() < 2:
        raise UserError(
            f"{source}: {len(labels)} rows in {len(sizes)} classes; two classes are needed, one with two rows"
        )


def tfidf(texts: Sequence[str]) -> np.ndarray:
    """Return TF-IDF vectors of texts, reduced to at most 256 dimensions: (N, d).

    Raises:
        UserError: no text has a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        sparse = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    except ValueError as error:
        raise UserError(f"TF-IDF: no text has a word of two letters ({error})") from None
    size = min(COMPONENTS, min(sparse.shape) - 1)
    return TruncatedSVD(size, random_state=0).fit_transform(sparse) if size > 0 else sparse.toarray()


def frozen_triplets(path: Path, vectors: np.ndarray, texts: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Read hard triplets from a file; create it from the vectors if it is missing.

    Raises:
        UserError: the file is damaged, or contains triplets of other rows.
    """
    if path.exists():
        return triplets.read(path, texts, labels)
    found = retrieval.hard_triplets(vectors, labels)
    triplets.write(path, found, texts)
    return found


def geometry_by_layer(layers: Mapping[str, np.ndarray]) -> list[dict]:
    """Return the geometry of the vectors after each layer for each pooling, as rows of a table.

    Args:
        layers: {pooling: (L, N, d)}.
    """
    return [
        {"pooling": pooling, "layer": layer, **anisotropy.geometry(vectors)}
        for pooling, stack in layers.items()
        for layer, vectors in enumerate(stack)
    ]


# Files


def write(folder: Path, found: Mapping[str, Mapping[str, float]], epoch: int = -1, steps: int = -1) -> None:
    """Write ``metrics.json``, ``embedding_metrics.csv`` and, where there are triplets, sentence-transformers' files.

    Args:
        found: {name of a representation: metrics}.
        epoch, steps: epoch and updates of the checkpoint; -1 if unknown.
    """
    write_json(folder / "metrics.json", found, indent=1)
    rows = [{"representation": name, "epoch": epoch, "updates": steps, **scores} for name, scores in found.items()]
    write_table(folder / "embedding_metrics.csv", rows)
    first = next(iter(found.values()))
    for kind, name in (("random", "random_triplets"), ("hard", "hard_triplets"), ("given", "triplet_accuracy")):
        if name in first:
            row = {"epoch": epoch, "steps": steps, "accuracy_cosine": first[name]}
            write_table(folder / f"triplet_evaluation_{kind}_results.csv", [row])


def write_table(path: Path, rows: Sequence[Mapping]) -> None:
    """Write rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def table(found: Mapping[str, Mapping[str, float]], names: Sequence[str] = SHOWN) -> str:
    """Return metrics as a Markdown table, one row per representation."""
    rows = [[row, *(f"{scores[name]:.3f}" for name in names)] for row, scores in found.items()]
    return markdown(["representation", *names], rows)
