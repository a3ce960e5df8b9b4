"""Rows to review for label errors: their order, similar rows, and the columns of their table."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from plugins.errors import UserError, check
from plugins.files import opened

from . import confident, diagnosis, duplicates, formats

NEIGHBORS = 3


@dataclass(frozen=True)
class Listed:
    """Rows of a data set with model predictions and a ranking score.

    Attributes:
        texts: one or two columns of n texts.
        index: n names of rows.
        labels: (n,) given class ids.
        classes: K class names.
        log_probabilities: (n, K).
        pvi: (n,) bits.
        score: (n,) label quality; labels with the lowest scores are most likely wrong.
        flags: (n,) bool, rows flagged by confident learning.
        groups: (n,) group numbers of duplicates.
    """

    texts: list[list[str]]
    index: list[str]
    labels: np.ndarray
    classes: list[str]
    log_probabilities: np.ndarray
    pvi: np.ndarray
    score: np.ndarray
    flags: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def order(self) -> np.ndarray:
        """Row numbers, the most likely errors first."""
        return np.argsort(self.score, kind="stable")


def load(folder: str | Path) -> Listed:
    """Read the files written by :mod:`.diagnosis_report`.

    Raises:
        UserError: a file is missing or damaged, the files do not match, or the task is a regression.
    """
    folder = Path(folder)
    path = folder / "probabilities.npz"
    check(path.is_file(), f"{path}: no such file; name a folder that scripts/diagnose.py wrote for classes")
    given = formats.read_npz(path, "logits")
    table = read_table(folder / "diagnosis.csv")
    columns = [name for name in ("sentence1", "sentence2") if name in table]
    rows = len(given.labels)
    check(len(table["idx"]) == rows, f"{folder}: diagnosis.csv has {len(table['idx'])} rows, probabilities.npz {rows}")
    known = {name: k for k, name in enumerate(given.classes)}
    same = [known.get(label) for label in table["label"]] == given.labels.tolist()
    check(same, f"{folder}: labels of diagnosis.csv and probabilities.npz differ; are both from the same diagnosis?")
    same = list(given.index) == table["idx"]
    check(same, f"{folder}: diagnosis.csv and probabilities.npz have other rows, or the same in another order")
    texts = [table[name] for name in columns] or [[""] * rows]
    return listed(given, texts, table["idx"])


def listed(given: formats.Predictions, texts: list[list[str]], index: list[str]) -> Listed:
    """Return the rows of predictions, with calibrated probabilities averaged over seeds."""
    assert given.logits is not None  # an .npz always has logits
    d = diagnosis.diagnose(given.logits, given.labels, given.classes, given.folds, given.null_log2)
    groups = duplicates.find(duplicates.joined(texts)).groups
    assert d.log_probabilities is not None and d.rank_score is not None  # a classification
    return Listed(texts, index, d.labels, d.classes, d.log_probabilities, d.pvi_calibrated.mean(0), d.rank_score,
                  d.flags["prune_by_noise_rate"], groups)  # fmt: skip


def read_table(path: Path, needed: Sequence[str] = ("idx", "label")) -> dict[str, list[str]]:
    """Return the columns of a CSV with a header.

    Raises:
        UserError: the file cannot be read, or a needed column is missing.
    """
    with opened(path) as file:
        try:
            rows = list(csv.reader(file, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}: not CSV ({error})") from None
    check(rows and set(needed) <= set(rows[0]), f"{path}:1: the columns {', '.join(needed)} are needed")
    bad = next((i for i, row in enumerate(rows) if len(row) != len(rows[0])), None)
    check(bad is None, f"{path}: record {bad}: {len(rows[bad or 0])} columns, {len(rows[0])} expected")
    return {name: [row[k] for row in rows[1:]] for k, name in enumerate(rows[0])}


def order_by(given: Listed, score: str) -> np.ndarray:
    """Return a label quality score by name, (n,); labels with the lowest scores are most likely wrong.

    Args:
        given: the rows.
        score: ``ranks`` (mean rank of margin and PVI), ``pvi``, or one of :data:`.confident.METHODS`.
    """
    if score == "ranks":
        return given.score
    if score == "pvi":
        return given.pvi
    return confident.scores(np.exp(log_softmax(given.log_probabilities, axis=1)), given.labels, score)


def neighbors(texts: Sequence[str], rows: np.ndarray, number: int = NEIGHBORS) -> np.ndarray:
    """Return the nearest neighbors of some rows by TF-IDF cosine similarity, (m, number) row numbers; -1 if missing.

    Of equally similar rows, those with the lowest numbers are returned.

    Args:
        texts: n texts.
        rows: (m,) row numbers.
        number: number of neighbors.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        model = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, dtype=np.float32)
        vectors = model.fit_transform(texts)
    except ValueError:  # the texts contain no words
        return np.full((len(rows), number), -1)
    found = np.full((len(rows), number), -1)
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        similarity = (vectors[part] @ vectors.T).toarray()
        similarity[np.arange(len(part)), part] = -1
        best = np.argpartition(-similarity, min(number, len(texts)) - 1, axis=1)[:, :number]
        last = np.take_along_axis(similarity, best, 1).min(1)
        tied = (last > 0) & ((similarity >= last[:, None]).sum(1) > number)  # argpartition chose any of them
        for i in np.flatnonzero(tied):
            near = np.flatnonzero(similarity[i] >= last[i])
            best[i] = near[np.argsort(-similarity[i, near], kind="stable")[:number]]
        order = np.lexsort((best, -np.take_along_axis(similarity, best, 1)))  # by similarity, then by row number
        best = np.take_along_axis(best, order, 1)
        good = np.take_along_axis(similarity, best, 1) > 0
        found[start : start + 256, : best.shape[1]] = np.where(good, best, -1)
    return found


def columns(given: Listed, rows: np.ndarray) -> dict[str, Sequence]:
    """Return the columns of ``errors.csv`` for some rows, in their order."""
    numbers = rows.tolist()
    others = given.log_probabilities.copy()
    others[np.arange(len(others)), given.labels] = -np.inf
    names = given.classes
    p = np.exp(given.log_probabilities)
    quality = confident.scores(p / p.sum(1, keepdims=True), given.labels, "normalized_margin")
    found = {"row": numbers, "index": [given.index[i] for i in numbers]}
    found |= {f"sentence{k}": [column[i] for i in numbers] for k, column in enumerate(given.texts, start=1)}
    return found | {
        "given_label": [names[k] for k in given.labels[rows]],
        "suggested_label": [names[k] for k in others[rows].argmax(1)],
        "predicted_label": [names[k] for k in p[rows].argmax(1)],
        "is_label_issue": given.flags[rows].tolist(),
        "label_quality": quality[rows], "PVI": given.pvi[rows], "rank_score": given.score[rows],
    }  # fmt: skip
