"""Specify a label by examples: rank rows by similarity to them, and find rows with another label.

A specification is a YAML mapping ``{name, label, queries, held_out}``; ``queries`` is a list of texts or a file with
one per line. Ranking by similarity alone finds rows on the topic of the examples, whatever their label. Label errors
are found by contrast: similarity to examples of another label minus similarity to examples of the row's own label.

Shapes: n rows, Q queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.errors import UserError, check
from plugins.files import read_text, read_yaml

from . import rank_aggregation
from .divergence import count_words, tokens

RANKERS = ("tfidf", "bm25")
Embed = Callable[[Sequence[str]], np.ndarray]  # returns the vectors (n, D) of n texts
Ranker = str | Embed


@dataclass(frozen=True)
class Specification:
    """A label specified by examples.

    Attributes:
        name: name of the specification.
        label: class name.
        queries: example texts with this label.
        held_out: further examples, for evaluation.
    """

    name: str
    label: str
    queries: tuple[str, ...]
    held_out: tuple[str, ...] = ()


def read(path: str | Path) -> list[Specification]:
    """Read one or several specifications from a YAML file.

    Raises:
        UserError: the file cannot be read or is an empty list, a key is missing or unknown, or a value has another
            type.
    """
    content = read_yaml(path, texts=True)
    rows = content if isinstance(content, list) else [content]
    check(rows, f"{path}: no specifications")
    found = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}: specification {number}"
        check(isinstance(row, dict), f"{where}: a mapping with name, label and queries is expected")
        unknown = set(row) - {"name", "label", "queries", "held_out"}
        check(not unknown, f"{where}: unknown key {', '.join(sorted(map(str, unknown)))}")
        for name in ("name", "label", "queries"):
            check(row.get(name), f"{where}: the key {name!r} is missing")
        texts = {key: _texts(Path(path), row.get(key), f"{where}: {key}") for key in ("queries", "held_out")}
        check(isinstance(row["label"], str) and isinstance(row["name"], str), f"{where}: name and label are texts")
        found.append(Specification(row["name"], row["label"], texts["queries"], texts["held_out"]))
    check(len({spec.name for spec in found}) == len(found), f"{path}: two specifications have the same name")
    return found


def _texts(path: Path, value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        file = path.parent / value
        value = [line.strip() for line in read_text(file).splitlines()]
    value = value or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserError(f"{where}: a list of texts, or a file with one per line, is expected")
    return tuple(text for text in value if text)


def similarities(texts: Sequence[str], queries: Sequence[str], ranker: Ranker = "tfidf") -> np.ndarray:
    """Return the similarities of texts and queries, (Q, n) float32.

    Args:
        texts: n texts.
        queries: Q texts.
        ranker: ``tfidf``, the cosine similarity of TF-IDF vectors of unigrams and bigrams; ``bm25`` (Robertson and
            Zaragoza, 2009); or an embedding function such as :meth:`plugins.hub.Embedder.encode`, for the cosine
            similarity of its centered vectors.

    Raises:
        UserError: the ranker is unknown, or all texts are empty.
    """
    check(callable(ranker) or ranker in RANKERS, f"--ranker {ranker}: the choices are {', '.join(RANKERS)}, embeddings")
    check(any(text.strip() for text in texts), "no words in the texts to rank")
    if callable(ranker):
        vectors = unit(ranker([*texts, *queries]))
        return vectors[len(texts) :] @ vectors[: len(texts)].T
    if ranker == "bm25":
        return bm25(texts, queries)
    from sklearn.feature_extraction.text import TfidfVectorizer

    model = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    try:
        rows = model.fit_transform(texts)
    except ValueError:
        return np.zeros((len(queries), len(texts)), np.float32)
    return (model.transform(queries) @ rows.T).toarray()


def unit(vectors: np.ndarray) -> np.ndarray:
    """Center vectors (n, D) and normalize them to unit length, in float32; zero vectors stay zero.

    The vectors of a model that was not trained for embeddings share a large common component, which centering removes.
    """
    vectors = np.asarray(vectors, np.float32)
    zero = ~vectors.any(1)
    vectors = vectors - vectors[~zero].mean(0) if not zero.all() else vectors
    vectors[zero] = 0
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def bm25(texts: Sequence[str], queries: Sequence[str], k: float = 1.2, b: float = 0.75) -> np.ndarray:
    """Return the Okapi BM25 score of each query and text, (Q, n) float32.

    Args:
        texts: n texts.
        queries: Q texts.
        k: saturation of word counts (k1 in the paper).
        b: strength of length normalization, 0 to 1.
    """
    words = count_words([tokens(text) for text in texts])
    counts = words.counts.tocsc().astype(np.float32)
    rows = len(texts)
    lengths = np.asarray(counts.sum(1)).ravel()
    norm = k * (1 - b + b * lengths / max(1e-9, lengths.mean()))
    place = {word: i for i, word in enumerate(words.vocabulary)}
    frequency = np.diff(counts.indptr)
    idf = np.log(1 + (rows - frequency + 0.5) / (frequency + 0.5))
    found = np.zeros((len(queries), rows), np.float32)
    for q, query in enumerate(queries):
        for word in set(tokens(query)) & place.keys():
            i = place[word]
            span = slice(counts.indptr[i], counts.indptr[i + 1])
            own, values = counts.indices[span], counts.data[span]
            found[q, own] += idf[i] * values * (k + 1) / (values + norm[own])
    return found


def likeness(texts: Sequence[str], specs: Sequence[Specification], ranker: Ranker, method: str) -> np.ndarray:
    """Return the aggregated similarity of texts to each specification, (specifications, n); higher is more similar.

    Args:
        texts: n texts.
        specs: the specifications.
        ranker: see :func:`similarities`.
        method: one of :data:`.rank_aggregation.METHODS`.
    """
    queries = [query for spec in specs for query in spec.queries]
    found = similarities(texts, queries, ranker)  # (all queries, n)
    ends = np.cumsum([len(spec.queries) for spec in specs])
    return np.stack([rank_aggregation.aggregate(part, method) for part in np.split(found, ends[:-1])])


def suspects(
    texts: Sequence[str], labels: np.ndarray, classes: Sequence[str], specs: Sequence[Specification],
    ranker: Ranker = "tfidf", method: str = "contrast-rrf",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return each row's highest similarity to the examples of another label, (n,), and that label, (n,) class ids.

    Args:
        texts: n texts.
        labels: (n,) given class ids.
        classes: K class names.
        specs: specifications of at least two labels.
        ranker: see :func:`similarities`.
        method: one of :data:`.rank_aggregation.METHODS`, optionally prefixed with ``contrast-``, which subtracts the
            similarity to the examples of the row's own label; nothing is subtracted for labels without examples.

    Raises:
        UserError: a specification's label is not a class, or there are examples of only one label.
    """
    names = {name: k for k, name in enumerate(classes)}
    for spec in specs:
        known = ", ".join(classes)
        check(spec.label in names, f"specification {spec.name}: no class {spec.label!r}; there are {known}")
    check(len({spec.label for spec in specs}) > 1 or len(classes) > 1, "examples of a single label are not enough")
    contrast = method.startswith("contrast-")
    found = likeness(texts, specs, ranker, method.removeprefix("contrast-"))
    spec_labels = np.array([names[spec.label] for spec in specs])
    by_class = np.full((len(classes), len(texts)), -np.inf)
    for k in np.unique(spec_labels):
        by_class[k] = found[spec_labels == k].max(0)
    others = by_class.copy()
    others[labels, np.arange(len(texts))] = -np.inf
    suggested = others.argmax(0)
    score = others[suggested, np.arange(len(texts))]
    if contrast:
        own = by_class[labels, np.arange(len(texts))]
        score = score - np.where(np.isfinite(own), own, 0)
    lowest = score[np.isfinite(score)].min(initial=0)
    return np.where(np.isfinite(score), score, lowest - 1), suggested


def select(texts: Sequence[str], specs: Sequence[Specification], number: int, ranker: Ranker = "tfidf",
           method: str = "contrast-rrf") -> dict[str, np.ndarray]:  # fmt: skip
    """Return the rows of a pool most similar to each specification, {name: (number,) row numbers, best first}.

    With ``contrast-``, the similarity to the specifications of other labels is subtracted.

    Args:
        texts: the pool.
        specs: the specifications.
        number: rows to select for each.
        ranker, method: see :func:`suspects`.

    Raises:
        UserError: ``number`` is 0 or exceeds the rows of the pool.
    """
    check(0 < number <= len(texts), f"--number {number}: must be from 1 to {len(texts)}, the rows of the pool")
    found = likeness(texts, specs, ranker, method.removeprefix("contrast-"))
    result = {}
    for i, spec in enumerate(specs):
        rest = [j for j, other in enumerate(specs) if other.label != spec.label]
        score = found[i] - (found[rest].max(0) if rest and method.startswith("contrast-") else 0)
        result[spec.name] = np.argsort(-score, kind="stable")[:number]
    return result
