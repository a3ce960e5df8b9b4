"""Data sets with their splits, from any table or from the files of a GLUE task, as lists and arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.data.glue import reader, specs
from plugins.data.text.records import BadRow, is_json, json_records
from plugins.data.text.tables import check_delimiter, table_rows
from plugins.errors import UserError, check
from plugins.files import read_text

UNLABELED = -1
LABELS = ("label", "gold_label", "labels", "target", "class", "score", "quality", "is_duplicate")
TEXTS = (("sentence1", "sentence2"), ("#1 String", "#2 String"), ("premise", "hypothesis"), ("question1", "question2"),
         ("question", "sentence"), ("sentence",), ("text",), ("content",), ("tweet",))  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """A data set of n rows.

    Attributes:
        columns: names of the one or two columns of text.
        texts: n texts per column.
        labels: (n,) class ids, :data:`UNLABELED` where a row has none.
        classes: names of the classes, in the order of their ids.
        splits: (n,) numbers.
        split_names: split names of the splits; the first is the one to train on.
        index: n names of the rows in their files.
        scores: (n,) labels of a regression, whose classes are ranges of them; NaN where a row has none.
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
    """Read the splits of a task; the folder may lack all but ``train``.

    Args:
        data: GLUE folder, or the folder of the task.
        spec: specification of the task.
        splits: which; None: all that are there.
        bins: ranges of equal width that the scores of a regression are cut into.
        skip_bad_rows: leave out what is an error otherwise.

    Raises:
        UserError: a file is missing or bad.
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
    """Return the ids of equal ranges of scores, (n,), and the names of the ranges; NaN is unlabeled."""
    check(bins >= 2, f"--bins {bins}: at least 2 are needed")
    edges = np.linspace(*scale, bins + 1)
    ids = np.clip(np.digitize(np.nan_to_num(scores), edges[1:-1]), 0, bins - 1)
    classes = [f"{low:g}-{high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return np.where(np.isnan(scores), UNLABELED, ids), classes


def read_files(paths: Sequence[str | Path], texts: Sequence[str] = (), label: str | None = None,
               bins: int | None = None) -> Rows:  # fmt: skip
    """Read tables with a header, or JSON lines, one split per file, named after the files.

    Args:
        paths: the files.
        texts: names of the one or two columns of text; none: the first known pair or name that the file has.
        label: name of the label's column; None: the first known name.
        bins: labels are scores, whose classes are this many ranges of equal width; None: labels are names of classes.

    Raises:
        UserError: a file or column is missing, a row is bad, a class has no name, or a score is not a number.
    """
    check(len(texts) <= 2, f"--text {' '.join(texts)}: one or two columns are possible")
    columns: list[list[str]] = []
    written: list[str] = []
    sizes, index = [], []
    for path in map(Path, paths):
        rows = _objects(path)
        first = next(rows, None)
        if first is None:
            raise UserError(f"{path}: no rows")
        names = list(first[1])
        texts, label = known_columns(path, texts, label)
        for name in (*texts, label):
            check(name in names, f"{path}: no column {name!r}; there are {', '.join(map(str, names))[:200]}")
        columns = columns or [[] for _ in texts]
        start = len(written)
        for line, row in _chain(first, rows):
            for column, name in zip(columns, texts, strict=True):
                value = row.get(name)
                if not isinstance(value, str):
                    raise UserError(f"{path}:{line}: no text in the column {name!r}")
                column.append(value)
            value = row.get(label)
            check(value not in (None, ""), f"{path}:{line}: no label in the column {label!r}")
            written.append(str(value).strip())
            check(bins is None or is_score(written[-1]), f"{path}:{line}: the label {written[-1][:40]!r} is no number")
            index.append(str(row.get("index", row.get("id", row.get("idx", len(written) - 1 - start)))))
        sizes.append(len(written) - start)
    scores = None
    if bins is None:
        classes = sorted_classes(written)
        ids = {name: i for i, name in enumerate(classes)}
        labels = np.fromiter((ids[name] for name in written), np.int64, len(written))
    else:
        scores = np.array([float(value) for value in written])
        check(scores.min() < scores.max(), f"{paths[0]}: all scores in the column {label!r} are equal")
        labels, classes = binned(scores, (scores.min(), scores.max()), bins)
    names = [path.stem for path in map(Path, paths)]
    names = names if len(set(names)) == len(names) else [str(path) for path in paths]
    check(len(set(names)) == len(names), f"{names[0]}: the same file twice")
    return Rows(tuple(texts), columns, labels, classes, np.repeat(np.arange(len(sizes)), sizes), names, index,
                scores)  # fmt: skip


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


def read_texts(path: str | Path, column: str | None = None) -> list[str]:
    """Return one column of text of a table, which needs no labels.

    Raises:
        UserError: the file cannot be read, or has no such column.
    """
    path = Path(path)
    texts: list[str] = []
    for line, row in _objects(path):
        if column is None:
            column = _first(path, list(row), [group for group in TEXTS if len(group) == 1], "--text")[0]
        value = row.get(column)
        if not isinstance(value, str):
            raise UserError(f"{path}:{line}: no text in the column {column!r}")
        texts.append(value)
    check(texts, f"{path}: no rows")
    return texts


def read_lines(paths: Sequence[str | Path], per_class: int, longest: int = 70, seed: int = 0) -> Rows:
    """Return distinct random lines of plain texts, one file per class: at least four words each, cut at a blank.

    Args:
        paths: paths of the texts, whose names become the classes.
        per_class: lines of each.
        longest: characters of a line.
        seed: random seed of the choice.

    Raises:
        UserError: fewer than two files, or a file with too few lines.
    """
    check(len(paths) > 1, "--lines: two files or more are needed, one for each class")
    names = [path.stem for path in map(Path, paths)]
    check(len(set(names)) == len(names), "--lines: two files have the same name")
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for k, path in enumerate(paths):
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


def known_columns(path: str | Path, texts: Sequence[str] = (), label: str | None = None) -> tuple[tuple[str, ...], str]:
    """Return the names of the text and label columns of a file; guess those that are not given.

    Raises:
        UserError: the file cannot be read, or has no column of a known name.
    """
    path = Path(path)
    first = next(_objects(path), None)
    if first is None:
        raise UserError(f"{path}: no rows")
    names = list(first[1])
    found = tuple(texts or _first(path, names, TEXTS, "--text"))
    return found, label or _first(path, names, [(name,) for name in LABELS], "--label")[0]


def read_column(path: str | Path, name: str, spec: specs.GlueSpec | None = None) -> list[str]:
    """Return the values of one column of a training file, by row.

    Args:
        path: the file.
        name: name of the column.
        spec: specification of the task whose file it is, which may have no header.

    Raises:
        UserError: there is no such column, or a row is bad.
    """
    path = Path(path)
    rows = _objects(path) if spec is None else reader.numbered_rows(path, spec, specs.TRAIN)
    values = []
    for line, row in rows:
        if isinstance(row, BadRow):
            raise UserError(f"{path}:{line}: {row}")
        check(name in row, f"--slices {name}: {path} has no such column; there are {', '.join(map(str, row))[:200]}")
        values.append(str(row[name]))
    return values


def sorted_classes(labels: Sequence[str]) -> list[str]:
    """Return the names of the classes: numbers by size, else in alphabetic order.

    Raises:
        UserError: fewer than two, or more than 1,000, which cannot be classes.
    """
    names = set(labels)
    check(len(names) > 1, f"only one class occurs, {next(iter(names), 'none')!r}; a diagnosis needs two")
    check(len(names) <= 1000, f"{len(names):,} different labels; name the column of the classes: --label")
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def _first(path: Path, names: Sequence[str], known: Sequence[Sequence[str]], flag: str) -> Sequence[str]:
    by_lower = {str(name).lower(): name for name in names}
    for group in known:
        if all(name.lower() in by_lower for name in group):
            return [by_lower[name.lower()] for name in group]
    raise UserError(f"{path}: which column? name it with {flag}; there are {', '.join(map(str, names))[:200]}")


def _chain(first: tuple[int, dict], rest: Iterator[tuple[int, dict]]) -> Iterator[tuple[int, dict]]:
    yield first
    yield from rest


def _objects(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield (line number, {column: value}) of a file.

    Raises:
        UserError: it cannot be read, or a row is bad.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if is_json(path):
        for line, row in json_records(path):
            if isinstance(row, BadRow):
                raise UserError(f"{path}:{line}: {row}")
            yield line, row
        return
    table = table_rows(path)
    header = next(table, (0, []))[1]
    check_delimiter(path, header)
    check(len(set(header)) == len(header), f"{path}:1: a column name occurs twice in the header")
    for line, cells in table:
        check(len(cells) == len(header), f"{path}:{line}: {len(cells)} columns, {len(header)} expected")
        yield line, dict(zip(header, cells, strict=True))
