"""The one table of GLUE: files, columns, labels and metrics of each task; and the same for tasks of the user's own.

Columns and file names are those of the official archives (gluebenchmark.com/tasks), label ids those of the benchmark's
own lists, which Hugging Face's ``nyu-mll/glue`` has too. Metrics carry Hugging Face's names.
"""

import difflib
import re
from dataclasses import asdict, dataclass, fields

from plugins.errors import UserError
from plugins.files import read_yaml

ACCURACY, F1, MATTHEWS = "accuracy", "f1", "matthews_correlation"
PEARSON, SPEARMAN, COMBINED = "pearson", "spearmanr", "combined_score"
METRICS = (ACCURACY, F1, MATTHEWS, PEARSON, SPEARMAN, COMBINED)
REGRESSION_METRICS = (PEARSON, SPEARMAN, COMBINED)
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
        labels: how labels are written in the files, in the order of their ids; empty for regression.
        names: what those labels mean, in the same order; empty: the labels speak for themselves.
        metrics: the official ones.
        best: the one that picks the best checkpoint.
        folders: names that the task's folder may have.
        headless: columns of the splits whose files have no header.
        scale: lowest and highest label of a regression.
        head: the name of the classification head that serves it; empty: its own.
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
    def is_regression(self):
        return bool(self.scale)

    @property
    def outputs(self):
        """How many numbers the head gives."""
        return 1 if self.is_regression else len(self.labels)

    @property
    def id2label(self):
        """Readable label names in the order of their ids."""
        return list(self.names or self.labels)

    @property
    def head_name(self):
        return self.head or self.name.lower()

    @property
    def valid_splits(self):
        """Validation splits, the one that decides first."""
        return [split for split in self.files if split.startswith(VALID)]

    @property
    def test_splits(self):
        return [split for split in self.files if split.startswith(TEST)]

    def plain(self):
        """Return the table's row as plain data, for a checkpoint."""
        return asdict(self)


def from_plain(row):
    """Return the spec that :meth:`GlueSpec.plain` wrote; lists become tuples again."""
    return GlueSpec(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})


def single(name, columns, label, labels, metrics, best, **more):
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
ALIASES = {"premise": "sentence1", "hypothesis": "sentence2"}  # of columns, in diagnostic-full.tsv


def find(name, source="--glue-task", own=()):
    """Return the spec of a task, however its name is written (``SST-2``, ``sst2``).

    Args:
        source: what gave the name, for the error.
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


# Tasks of the user's own

REQUIRED = ("name", "files", "text", "label", "metrics")


def read(path):
    """Read the spec of a task from a YAML file: the attributes of :class:`GlueSpec`, of which most may be left out.

    Raises:
        UserError: unreadable, or a key is missing, unknown or contradicts another.
    """
    row = read_yaml(path, texts=True)
    if not isinstance(row, dict):
        raise UserError(f"{path}: a mapping with the keys {', '.join(REQUIRED)} is expected")
    known = {f.name for f in fields(GlueSpec)}
    for name in row:
        if name not in known:
            raise UserError(f"{path}: unknown key {name!r}; there are {', '.join(sorted(known))}")
    for name in REQUIRED:
        if not row.get(name):
            raise UserError(f"{path}: the key {name!r} is missing")
    return _checked(path, row)


def _checked(path, row):
    row = dict(row)
    for name in ("name", "label", "best", "head"):
        if not isinstance(row.get(name, ""), str):
            raise UserError(f"{path}: {name} must be one text")
    for name in ("name", "head"):  # they name folders and parameters
        if row.get(name) and not re.fullmatch("[A-Za-z0-9_-]+", row[name]):
            raise UserError(f"{path}: {name} {row[name]!r} may hold letters, digits, - and _ alone")
    for name in ("files", "headless", "submission"):
        if not isinstance(row.get(name) or {}, dict) or not (row.get(name) or {}).keys() <= set(SPLIT_NAMES):
            raise UserError(f"{path}: {name} must be a mapping with keys among {', '.join(SPLIT_NAMES)}")
    if not all(isinstance(file, str) and file for file in row["files"].values()):
        raise UserError(f"{path}: files must name one file a split")
    for name in (TRAIN, VALID):
        if name not in row["files"]:
            raise UserError(f"{path}: files: no {name!r} split; train and valid are needed")
    for name in ("text", "labels", "names", "metrics", "folders", "scale"):
        value = row.get(name, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f"{path}: {name} must be a list of texts")
        row[name] = tuple(value)
        if len(set(row[name])) < len(row[name]):
            raise UserError(f"{path}: {name} says one thing twice: {', '.join(row[name])}")
    if row["label"] in row["text"]:
        raise UserError(f"{path}: {row['label']!r} is both a text and the label")
    try:
        row["scale"] = tuple(map(float, row["scale"]))
    except ValueError:
        raise UserError(f"{path}: scale must be two numbers, [lowest, highest]") from None
    row.setdefault("best", row["metrics"][0])
    if len(row["text"]) not in (1, 2):
        raise UserError(f"{path}: text names {len(row['text'])} columns; one or two are possible")
    if bool(row["labels"]) == bool(row["scale"]):
        raise UserError(f"{path}: give either labels, or scale: [lowest, highest] for a regression")
    if row["labels"] and len(set(row["labels"])) < 2:
        raise UserError(f"{path}: labels must name at least two classes")
    if row["names"] and len(row["names"]) != len(row["labels"]):
        raise UserError(f"{path}: {len(row['names'])} names for {len(row['labels'])} labels")
    if row["scale"] and (len(row["scale"]) != 2 or not row["scale"][0] < row["scale"][1]):
        raise UserError(f"{path}: scale must be [lowest, highest]")
    possible = REGRESSION_METRICS if row["scale"] else (ACCURACY, F1, MATTHEWS, COMBINED)
    for metric in (*row["metrics"], row["best"]):
        if metric not in possible:
            raise UserError(f"{path}: no metric {metric!r} for this kind of task; there are {', '.join(possible)}")
    if row["best"] not in row["metrics"]:
        raise UserError(f"{path}: best is {row['best']}, which is not among the metrics")
    if row["metrics"] == (COMBINED,):
        raise UserError(f"{path}: {COMBINED} is the mean of other metrics; name those too")
    if F1 in row["metrics"] and len(row["labels"]) != 2:
        raise UserError(f"{path}: f1 is for two classes, of which the second counts as positive")
    return GlueSpec(**row)
