"""Files, columns, labels and metrics of each GLUE task, and of tasks of a user's own (YAML).

Columns and file names are those of the official archives (gluebenchmark.com/tasks), label ids those of the benchmark's
own lists, as in Hugging Face's ``nyu-mll/glue``. Metrics have Hugging Face's names.
"""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from plugins.data.text.records import BadRow, check_name
from plugins.errors import UserError, check, shown
from plugins.files import check_relative, read_yaml

ACCURACY, F1, MATTHEWS = "accuracy", "f1", "matthews_correlation"
PEARSON, SPEARMAN, COMBINED = "pearson", "spearmanr", "combined_score"
CLASS_METRICS, REGRESSION_METRICS = (ACCURACY, F1, MATTHEWS, COMBINED), (PEARSON, SPEARMAN, COMBINED)
METRICS = tuple(dict.fromkeys(CLASS_METRICS + REGRESSION_METRICS))
TRAIN, VALID, TEST = "train", "valid", "test"
MISMATCHED = "_mismatched"
SPLIT_NAMES = (TRAIN, VALID, TEST, VALID + MISMATCHED, TEST + MISMATCHED)

SPLITS = {TRAIN: "train.tsv", VALID: "dev.tsv", TEST: "test.tsv"}


@dataclass(frozen=True)
class GlueSpec:
    """A sentence or sentence-pair task.

    Attributes:
        name: as users write it.
        files: file of each split; ``valid`` picks the best checkpoint.
        text: the one or two columns of text.
        label: the column of the label.
        labels: labels as written in the files, in the order of their ids; empty for regression.
        names: readable names of the labels, in the same order; empty: the labels themselves.
        metrics: the official ones.
        best: the one that picks the best checkpoint.
        folders: possible names of the task's folder.
        headless: columns of the splits whose files have no header.
        scale: lowest and highest label of a regression.
        head: name of the classification head; empty: the name of the task in lower case.
        submission: file names that the leaderboard expects for test splits.
    """

    name: str
    files: dict
    text: tuple
    label: str
    labels: tuple
    metrics: tuple
    best: str
    folders: tuple = ()
    names: tuple = ()
    headless: dict | None = None
    scale: tuple = ()
    head: str = ""
    submission: dict | None = None

    @property
    def is_regression(self) -> bool:
        """Whether the labels are scores."""
        return bool(self.scale)

    @property
    def outputs(self) -> int:
        """Size of the head's output."""
        return 1 if self.is_regression else len(self.labels)

    @property
    def id2label(self) -> list[str]:
        """Readable label names in the order of their ids."""
        return list(self.names or self.labels)

    @property
    def head_name(self) -> str:
        """The name of the classification head: ``head``, else the name of the task in lower case."""
        return self.head or self.name.lower()

    @property
    def valid_splits(self) -> list[str]:
        """Validation splits; the first picks the best checkpoint."""
        return [split for split in self.files if split.startswith(VALID)]

    @property
    def test_splits(self) -> list[str]:
        """The names of the test splits."""
        return [split for split in self.files if split.startswith(TEST)]

    def plain(self) -> dict[str, Any]:
        """Return the spec as plain data, to store in a checkpoint."""
        return asdict(self)


def from_plain(row: dict[str, Any]) -> GlueSpec:
    """Rebuild a spec from :meth:`GlueSpec.plain`'s data in a checkpoint.

    Raises:
        UserError: it is not a spec, or a path is outside the data folder.
    """
    source = "the checkpoint's task"
    check(isinstance(row, dict), f"{source}: no task specification")
    row = {name: value for name, value in row.items() if value is not None}
    _check_keys(source, row, ("name", "files", "text", "label", "metrics", "best"))
    scale = row.get("scale") or ()
    check(isinstance(scale, list | tuple), f"{source}: scale must be two numbers")
    spec = GlueSpec(**{"labels": (), **_typed(source, {**row, "scale": [str(value) for value in scale]})})
    _check_files(source, spec)
    return spec


def single(name: str, columns: tuple, label: str, labels: tuple, metrics: tuple, best: str, **more: Any) -> GlueSpec:
    """Return the spec of a task with the usual files."""
    return GlueSpec(name, SPLITS, columns, label, labels, metrics, best, folders=(name,), **more)


_YES_NO = ("0", "1")
_ENTAILED = ("entailment", "not_entailment")
_MNLI = ("entailment", "neutral", "contradiction")
_TABLE = [
    single("CoLA", ("sentence",), "label", _YES_NO, (MATTHEWS, ACCURACY), MATTHEWS,
           names=("unacceptable", "acceptable"), submission={TEST: "CoLA.tsv"},
           headless=dict.fromkeys((TRAIN, VALID), ("source", "label", "mark", "sentence"))),
    single("SST-2", ("sentence",), "label", _YES_NO, (ACCURACY,), ACCURACY, names=("negative", "positive"),
           submission={TEST: "SST-2.tsv"}),
    single("MRPC", ("#1 String", "#2 String"), "Quality", _YES_NO, (ACCURACY, F1, COMBINED), ACCURACY,
           names=("not_equivalent", "equivalent"), submission={TEST: "MRPC.tsv"}),
    single("STS-B", ("sentence1", "sentence2"), "score", (), REGRESSION_METRICS, PEARSON, scale=(0.0, 5.0),
           submission={TEST: "STS-B.tsv"}),
    single("QQP", ("question1", "question2"), "is_duplicate", _YES_NO, (ACCURACY, F1, COMBINED), ACCURACY,
           names=("not_duplicate", "duplicate"), submission={TEST: "QQP.tsv"}),
    GlueSpec("MNLI", {TRAIN: "train.tsv", VALID: "dev_matched.tsv", VALID + MISMATCHED: "dev_mismatched.tsv",
                      TEST: "test_matched.tsv", TEST + MISMATCHED: "test_mismatched.tsv"},
             ("sentence1", "sentence2"), "gold_label", _MNLI, (ACCURACY,), ACCURACY, folders=("MNLI",),
             submission={TEST: "MNLI-m.tsv", TEST + MISMATCHED: "MNLI-mm.tsv"}),
    single("QNLI", ("question", "sentence"), "label", _ENTAILED, (ACCURACY,), ACCURACY,
           submission={TEST: "QNLI.tsv"}),
    single("RTE", ("sentence1", "sentence2"), "label", _ENTAILED, (ACCURACY,), ACCURACY,
           submission={TEST: "RTE.tsv"}),
    single("WNLI", ("sentence1", "sentence2"), "label", _YES_NO, (ACCURACY,), ACCURACY,
           names=("not_entailment", "entailment"), submission={TEST: "WNLI.tsv"}),
    # The diagnostics have no training split: an MNLI model answers them. diagnostic-full.tsv has the labels.
    GlueSpec("AX", {VALID: "diagnostic-full.tsv", TEST: "diagnostic.tsv"}, ("sentence1", "sentence2"), "label", _MNLI,
             (MATTHEWS, ACCURACY), MATTHEWS, folders=("AX", "diagnostic"), head="mnli", submission={TEST: "AX.tsv"}),
]  # fmt: skip
SPECS = {spec.name: spec for spec in _TABLE}
ALIASES = {  # column names in diagnostic-full.tsv and in datasets of the Hugging Face Hub
    "premise": "sentence1",
    "hypothesis": "sentence2",
    "sentence1": "#1 String",
    "sentence2": "#2 String",
}


def find(name: str, source: str = "--glue-task", own: Sequence[GlueSpec] = ()) -> GlueSpec:
    """Return the spec of a task, however its name is written (``SST-2``, ``sst2``).

    Args:
        source: where the name comes from, for the error.
        own: specs besides GLUE's.

    Raises:
        UserError: no such task.
    """

    def plain(text):
        return text.lower().replace("-", "").replace("_", "")

    specs = {spec.name: spec for spec in (*own, *_TABLE)}
    for spec in specs.values():
        if plain(spec.name) == plain(name):
            return spec
    near = difflib.get_close_matches(name.upper(), specs, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"{source} {name}: {hint}there are {', '.join(specs)}; a YAML file (--spec) describes others")


# Tasks of a user's own

REQUIRED = ("name", "files", "text", "label", "metrics")
TEXTS, LISTS = ("name", "label", "best", "head"), ("text", "labels", "names", "metrics", "folders", "scale")
MAPPINGS = ("files", "headless", "submission")


def read(path: str | Path) -> GlueSpec:
    """Read the spec of a task from a YAML file: the attributes of :class:`GlueSpec`, of which most may be left out.

    Raises:
        UserError: unreadable, or a key is missing, unknown or contradicts another.
    """
    row = read_yaml(path, texts=True)
    check(isinstance(row, dict), f"{path}: a mapping with the keys {', '.join(REQUIRED)} is expected")
    _check_keys(path, row, REQUIRED)
    spec = GlueSpec(**{"best": "", "labels": (), **_typed(path, row)})
    spec = replace(spec, best=spec.best or spec.metrics[0])
    _check_names(path, spec)
    _check_labels(path, spec)
    _check_metrics(path, spec)
    return spec


def _check_keys(source: object, row: dict, required: Sequence[str]) -> None:
    known = {f.name for f in fields(GlueSpec)}
    for name in row:
        check(name in known, f"{source}: unknown key {shown(name)}; there are {', '.join(sorted(known))}")
    for name in required:
        check(row.get(name), f"{source}: the key {name!r} is missing")


def _typed(source: object, row: dict) -> dict[str, Any]:
    """Return a row with the types of the attributes: strings, mappings by split, and tuples."""
    row = dict(row)
    for name in TEXTS:
        check(isinstance(row.get(name, ""), str), f"{source}: {name} must be one text")
    for name in MAPPINGS:
        value = row.get(name) or {}
        known = isinstance(value, dict) and value.keys() <= set(SPLIT_NAMES)
        check(known, f"{source}: {name} must be a mapping with keys among {', '.join(SPLIT_NAMES)}")
    for names in (row.get("headless") or {}).values():
        texts = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        check(texts, f"{source}: headless must give a list of columns for each split")
    for name in LISTS:
        value = row.get(name, [])
        value = [value] if isinstance(value, str) else value
        texts = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        check(texts, f"{source}: {name} must be a list of texts")
        twice = next((item for item, count in Counter(value).items() if count > 1), None)
        check(twice is None, f"{source}: {name} has {shown(twice)} twice")
        row[name] = tuple(value)
    try:
        row["scale"] = tuple(map(float, row["scale"]))
    except ValueError:
        raise UserError(f"{source}: scale must be two numbers, [lowest, highest]") from None
    return row


def _check_files(source: object, spec: GlueSpec) -> None:
    """Check that files, folders and submissions are paths within the data folder, one for each split."""
    named = all(isinstance(file, str) and file for file in spec.files.values())
    check(named, f"{source}: files must name one file for each split")
    for file in (*spec.files.values(), *spec.folders, *(spec.submission or {}).values()):
        check(isinstance(file, str), f"{source}: submission must name one file for each split")
        check_relative(file, f"{source}: files")


def _check_names(path: object, spec: GlueSpec) -> None:
    for name, value in (("name", spec.name), ("head", spec.head)):  # they name folders and parameters
        legal = re.fullmatch("[A-Za-z0-9_-]*", value)
        check(legal, f"{path}: {name} {shown(value)} may contain only letters, digits, - and _")
    _check_files(path, spec)
    for value in (*spec.labels, *spec.names):
        try:
            check_name(value, "label")
        except BadRow as error:
            raise UserError(f"{path}: {error}") from None
    for split in (TRAIN, VALID):
        check(split in spec.files, f"{path}: files: no {split!r} split; train and valid are needed")
    check(spec.label not in spec.text, f"{path}: {shown(spec.label)} is both a text and the label")
    check(len(spec.text) in (1, 2), f"{path}: text names {len(spec.text)} columns; one or two are possible")


def _check_labels(path: object, spec: GlueSpec) -> None:
    either = bool(spec.labels) != spec.is_regression
    check(either, f"{path}: give either labels, or scale: [lowest, highest] for a regression")
    check(len(spec.labels) != 1, f"{path}: labels must name at least two classes")
    fit = len(spec.names) in (0, len(spec.labels))
    check(fit, f"{path}: {len(spec.names)} names for {len(spec.labels)} labels")
    ordered = not spec.scale or (len(spec.scale) == 2 and spec.scale[0] < spec.scale[1])
    check(ordered, f"{path}: scale must be [lowest, highest]")


def _check_metrics(path: object, spec: GlueSpec) -> None:
    possible = REGRESSION_METRICS if spec.is_regression else CLASS_METRICS
    for metric in (*spec.metrics, spec.best):
        known = metric in possible
        check(known, f"{path}: no metric {metric!r} for this kind of task; there are {', '.join(possible)}")
    check(spec.best in spec.metrics, f"{path}: best is {spec.best}, which is not among the metrics")
    check(spec.metrics != (COMBINED,), f"{path}: {COMBINED} is the mean of other metrics; name those too")
    two = F1 not in spec.metrics or len(spec.labels) == 2
    check(two, f"{path}: f1 is for two classes, of which the second counts as positive")
