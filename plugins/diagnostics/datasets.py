"""Read data sets and their splits from tables or from the files of a GLUE task, as lists and arrays."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.data.glue import reader, specs
from plugins.data.text.records import check_plain
from plugins.errors import UserError, check
from plugins.files import read_text

from .columns import known_columns, table_objects, text_of

UNLABELED = -1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """A data set of n rows.

    Attributes:
        columns: names of the one or two text columns.
        texts: n texts per column.
        labels: (n,) class ids; :data:`UNLABELED` for unlabeled rows.
        classes: names of the classes, in the order of their ids.
        splits: (n,) split numbers.
        split_names: names of the splits; the first is the training split.
        index: n names of the rows in their files.
        scores: (n,) targets of a regression, NaN for unlabeled rows; its classes are ranges of the scores.
    """

    columns: tuple[str, ...]
    texts: list[list[str]]
    labels: np.ndarray
    classes: list[str]
    splits: np.ndarray
    split_names: list[str]
    index: list[str]
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Rows":
        """Return a part of the rows, by their numbers."""
        numbers = np.asarray(rows).tolist()
        texts = [[column[i] for i in numbers] for column in self.texts]
        scores = None if self.scores is None else self.scores[rows]
        return Rows(self.columns, texts, self.labels[rows], self.classes, self.splits[rows], self.split_names,
                    [self.index[i] for i in numbers], scores)  # fmt: skip


def read_task(data: str | Path, spec: specs.GlueSpec, splits: Sequence[str] | None = None, bins: int = 5,
              skip_bad_rows: bool = False) -> Rows:  # fmt: skip
    """Read the splits of a task; all splits but ``train`` are optional.

    Args:
        data: GLUE folder, or the folder of the task.
        spec: specification of the task.
        splits: names of the splits to read; None: all existing ones.
        bins: number of equally wide bins for the scores of a regression.
        skip_bad_rows: skip malformed rows instead of raising an error.

    Raises:
        UserError: a file is missing or malformed.
    """
    found: dict[str, reader.Examples] = {}
    for split in splits or spec.files:
        try:
            path = reader.locate(data, spec, split)
        except UserError:
            if splits or split == specs.TRAIN:
                raise
            continue
        found[split] = reader.read(path, spec, split, skip_bad_rows)
    texts = [[text for part in found.values() for text in part.texts[k]] for k in range(len(spec.text))]
    numbers = np.repeat(np.arange(len(found)), [len(part.index) for part in found.values()])
    index = [name for part in found.values() for name in part.index]
    nothing = np.nan if spec.is_regression else UNLABELED
    labels = np.concatenate([np.full(len(p.index), nothing) if p.labels is None else p.labels for p in found.values()])
    names = (spec.text, texts)
    if not spec.is_regression:
        return Rows(*names, labels.astype(np.int64), spec.id2label, numbers, list(found), index)
    ids, classes = binned(labels, spec.scale, bins)
    return Rows(*names, ids, classes, numbers, list(found), index, labels)


def binned(scores: np.ndarray, scale: tuple[float, float], bins: int) -> tuple[np.ndarray, list[str]]:
    """Return the bin of each score, (n,), and the names of the equally wide bins; NaN is unlabeled.

    Raises:
        UserError: there are fewer than two bins.
    """
    check(bins >= 2, f"--bins {bins}: at least 2 are needed")
    edges = np.linspace(*scale, bins + 1)
    ids = np.clip(np.digitize(np.nan_to_num(scores), edges[1:-1]), 0, bins - 1)
    classes = [f"{low:g}-{high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return np.where(np.isnan(scores), UNLABELED, ids), classes


def read_files(paths: Sequence[str | Path], texts: Sequence[str] = (), label: str | None = None,
               bins: int | None = None) -> Rows:  # fmt: skip
    """Read tables with a header, or JSON lines files; each file is a split and gives it its name.

    Args:
        paths: the files.
        texts: names of the one or two text columns; empty: the first of :data:`.columns.TEXTS` in the file.
        label: name of the label column; None: the first of :data:`.columns.LABELS` in the file.
        bins: labels are scores, with this number of equally wide bins as classes; None: labels are class names.

    Raises:
        UserError: a file or column is missing, a row is malformed, a label is empty, or a score is not a number.
    """
    check(len(texts) <= 2, f"--text {' '.join(texts)}: name one or two columns")
    columns: list[list[str]] = []
    written: list[str] = []
    sizes, index = [], []
    for path in map(Path, paths):
        texts, label = known_columns(path, texts, label)
        columns = columns or [[] for _ in texts]
        start = len(written)
        for values, value, name in labeled_rows(path, texts, label, bins is not None):
            for column, text in zip(columns, values, strict=True):
                column.append(text)
            written.append(value)
            index.append(name)
        sizes.append(len(written) - start)
    scores = None
    if bins is None:
        labels, classes = class_ids(written, paths)
    else:
        scores = np.array([float(value) for value in written])
        check(scores.min() < scores.max(), f"{paths[0]}: all scores in the column {label!r} are equal")
        labels, classes = binned(scores, (scores.min(), scores.max()), bins)
    names = [path.stem for path in map(Path, paths)]
    names = names if len(set(names)) == len(names) else [str(path) for path in paths]
    check(len(set(names)) == len(names), f"{names[0]}: the same file twice")
    return Rows(tuple(texts), columns, labels, classes, np.repeat(np.arange(len(sizes)), sizes), names, index,
                scores)  # fmt: skip


def labeled_rows(path: Path, texts: Sequence[str], label: str, scored: bool) -> Iterator[tuple[list[str], str, str]]:
    """Yield the texts, the label and the name of each row of a file.

    Args:
        path: the file.
        texts: names of the text columns.
        label: name of the label column.
        scored: labels are numbers.

    Raises:
        UserError: a column is missing, a row is malformed, a label is empty, or a score is not a number.
    """
    for number, (line, row) in enumerate(table_objects(path)):
        if number == 0:
            for name in (*texts, label):
                check(name in row, f"{path}: no column {name!r}; there are {', '.join(map(str, row))[:200]}")
        values = [text_of(path, line, row, name) for name in texts]
        value = row.get(label)
        value = str(value).strip() if isinstance(value, str | int | float) else ""
        check(value, f"{path}:{line}: no label in the column {label!r}")
        check(not scored or is_score(value), f"{path}:{line}: the label {value[:40]!r} is not a number")
        yield values, value, str(row.get("index", row.get("id", row.get("idx", number))))


def class_ids(written: Sequence[str], paths: Sequence[str | Path]) -> tuple[np.ndarray, list[str]]:
    """Return the class ids (n,) of labels, and the names of the classes, sorted; ``paths`` are for the error.

    Raises:
        UserError: as :func:`sorted_classes`.
    """
    try:
        classes = sorted_classes(written)
    except UserError as error:
        raise UserError(f"{', '.join(map(str, paths))}: {error}") from None
    folded = Counter(name.casefold() for name in classes)
    alike = [repr(name) for name in classes if folded[name.casefold()] > 1]
    if alike:
        logger.warning("%s: the classes %s differ only in case", paths[0], ", ".join(alike)[:200])
    ids = {name: i for i, name in enumerate(classes)}
    return np.fromiter((ids[name] for name in written), np.int64, len(written)), classes


def is_score(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def check_not_scores(rows: Rows) -> None:
    """Check that the names of the classes are not numbers with decimals, as scores have.

    Raises:
        UserError: they are.
    """
    numbers = all(is_score(name) for name in rows.classes)
    broken = [name for name in rows.classes if numbers and not float(name).is_integer()]
    check(not broken, f"--data: the labels are {len(rows.classes)} different numbers, for example {broken[:1]}; "
          "name the column of the classes with --label, or diagnose a regression with --scores")  # fmt: skip


def read_lines(paths: Sequence[str | Path], per_class: int, longest: int = 70, seed: int = 0) -> Rows:
    """Sample distinct lines of at least four words from plain text files, one class per file.

    Args:
        paths: paths of the text files; their names become the class names.
        per_class: number of lines per class.
        longest: maximum length of a line in characters; longer lines are truncated at a space.
        seed: random seed of the sample.

    Raises:
        UserError: there are fewer than two files, or a file has too few lines.
    """
    check(len(paths) > 1, "--lines: two files or more are needed, one for each class")
    names = [path.stem for path in map(Path, paths)]
    check(len(set(names)) == len(names), "--lines: two files have the same name")
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for k, path in enumerate(paths):
        check_plain(path, "--data")
        lines = (line.strip() for line in read_text(path).splitlines())
        short = {line if len(line) <= longest else line[:longest].rsplit(" ", 1)[0] for line in lines}
        usable = sorted(line for line in short if len(line.split()) >= 4)
        check(len(usable) >= per_class, f"{path}: {len(usable)} lines of four words or more; {per_class} are needed")
        texts += [usable[i] for i in random.permutation(len(usable))[:per_class].tolist()]
        labels += [k] * per_class
    order = random.permutation(len(texts))
    index = [str(i) for i in range(len(texts))]
    return Rows(("text",), [[texts[i] for i in order.tolist()]], np.array(labels)[order], names,
                np.zeros(len(texts), np.int64), ["train"], index)  # fmt: skip


def sorted_classes(labels: Sequence[str]) -> list[str]:
    """Return the class names, sorted numerically if all are numbers, otherwise alphabetically.

    Raises:
        UserError: there are fewer than two or more than 1,000 distinct labels.
    """
    names = set(labels)
    check(len(names) > 1, f"only one class occurs, {next(iter(names), 'none')!r}; a diagnosis needs two")
    check(len(names) <= 1000, f"{len(names):,} different labels; name the column of the classes: --label")
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)
