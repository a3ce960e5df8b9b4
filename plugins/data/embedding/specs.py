"""Row specification of an embedding task: its columns and the kind of row they define.

A YAML file has the keys of a GLUE spec (:mod:`plugins.data.glue.specs`), of which ``label`` may be left out and
``text`` may name three columns.
"""

from dataclasses import dataclass, field

from plugins.data.glue import specs as glue
from plugins.errors import UserError, check
from plugins.files import read_yaml

LABELED, PAIRS, LABELED_PAIRS, SCORED_PAIRS = "labeled texts", "pairs", "labeled pairs", "scored pairs"
TRIPLETS, MARGINS, TEXTS = "triplets", "triplets with margins", "texts"
KINDS = (LABELED, PAIRS, LABELED_PAIRS, SCORED_PAIRS, TRIPLETS, MARGINS, TEXTS)
TEXTS_PER_ROW = dict(zip(KINDS, (1, 2, 2, 2, 3, 3, 1), strict=True))
METRICS = {  # validation metrics; the first one selects the best checkpoint
    LABELED: (
        "knn_accuracy",
        "knn_accuracy_5",
        "knn_accuracy_20",
        "map_at_r",
        "r_precision",
        "ndcg_at_10",
        "v_measure",
        "homogeneity",
        "completeness",
        "ami",
        "ari",
        "triplet_accuracy",
        "isoscore",
        "partition_score",
        "mean_cosine",
    ),
    LABELED_PAIRS: ("average_precision",),
    SCORED_PAIRS: ("spearman", "pearson"),
    PAIRS: ("accuracy_at_1", "mrr"),
    TRIPLETS: ("triplet_accuracy",),
    MARGINS: ("triplet_accuracy",),
    TEXTS: ("isoscore", "mean_cosine"),
}
HARD_ACCURACY = "hard_triplet_accuracy"  # of labeled texts, if it selects the best checkpoint
BETTER_HIGHER = sorted({HARD_ACCURACY, *(name for names in METRICS.values() for name in names)} - {"mean_cosine"})
POOLINGS = ("bos", "mean", "max", "attention", "last")
KEYS = ("name", "files", "text", "label", "labels", "scale", "headless", "folders")
FOLDER = "folder of texts"


@dataclass(frozen=True)
class RowSpec:
    """The shape of the rows of a task.

    Attributes:
        name: as users write it.
        files: file of each split; empty for a folder of ``CLASS.txt`` files.
        text: one to three columns of text.
        label: the column of the class, score or margin; empty if there is none.
        labels: how classes are written, in the order of their ids; empty: they are the values found.
        scale: lowest and highest score or margin.
        headless: columns of the splits whose files have no header.
        folders: names that the task's folder may have.
    """

    name: str
    files: dict
    text: tuple
    label: str = ""
    labels: tuple = ()
    scale: tuple = ()
    headless: dict = field(default_factory=dict)
    folders: tuple = ()

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        if len(self.text) == 3:
            return MARGINS if self.label else TRIPLETS
        if len(self.text) == 1:
            return LABELED if self.label else TEXTS
        if not self.label:
            return PAIRS
        return SCORED_PAIRS if self.scale else LABELED_PAIRS

    def plain(self) -> dict:
        """Return the kind and the classes as plain data, to store in a checkpoint."""
        return {"name": self.name, "kind": self.kind, "labels": list(self.labels)}


def of_glue(spec: glue.GlueSpec) -> RowSpec:
    """Return the rows of a GLUE task."""
    return RowSpec(
        spec.name, spec.files, tuple(spec.text), spec.label, tuple(spec.labels), tuple(spec.scale),
        spec.headless or {}, tuple(spec.folders),
    )  # fmt: skip


def of_folder() -> RowSpec:
    """Return the rows of a folder in which each ``CLASS.txt`` contains the texts of a class."""
    return RowSpec(FOLDER, {}, ("text",), "class")


def read(path: str) -> RowSpec:
    """Read a YAML file.

    Raises:
        UserError: unreadable, or a key is missing, unknown or contradicts another.
    """
    row = read_yaml(path, texts=True)
    check(isinstance(row, dict), f"{path}: a mapping with the keys {', '.join(KEYS)} is expected")
    known = {*KEYS, *glue.GlueSpec.__dataclass_fields__}
    for name in row:
        check(name in known, f"{path}: unknown key {name!r}; there are {', '.join(KEYS)}")
    for name in ("name", "files", "text"):
        check(row.get(name), f"{path}: the key {name!r} is missing")
    lists = {name: _texts(path, name, row.get(name, [])) for name in ("text", "labels", "scale", "folders")}
    check(1 <= len(lists["text"]) <= 3, f"{path}: text names {len(lists['text'])} columns; one to three are possible")
    label = row.get("label", "")
    check(isinstance(label, str), f"{path}: label must name one column")
    check(label not in lists["text"], f"{path}: {label!r} is both a text and the label")
    scale = _scale(path, lists["scale"])
    check(not (scale and lists["labels"]), f"{path}: give either labels, or scale: [lowest, highest]")
    check(not (scale and not label), f"{path}: scale needs the column that it describes: label")
    check(len(lists["labels"]) != 1, f"{path}: labels must name at least two classes")
    mappings = {name: _by_split(path, name, row.get(name) or {}) for name in ("files", "headless")}
    check("train" in mappings["files"] or "valid" in mappings["files"], f"{path}: files: no 'train' or 'valid' split")
    spec = RowSpec(
        str(row["name"]), mappings["files"], lists["text"], label, lists["labels"], scale, mappings["headless"],
        lists["folders"],
    )  # fmt: skip
    if spec.kind == LABELED_PAIRS and not spec.labels:
        raise UserError(f"{path}: pairs with a label need its values, in the order of their ids: labels")
    if spec.kind == LABELED and scale:
        raise UserError(f"{path}: a score of one text cannot train embeddings; name classes, or two texts")
    return spec


def _texts(path: str, name: str, value) -> tuple:
    value = [value] if isinstance(value, str) else value
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    check(texts, f"{path}: {name} must be a list of texts")
    check(len(set(value)) == len(value), f"{path}: {name} names one thing twice: {', '.join(value)}")
    return tuple(value)


def _scale(path: str, value: tuple) -> tuple:
    try:
        scale = tuple(map(float, value))
    except ValueError:
        raise UserError(f"{path}: scale must be two numbers, [lowest, highest]") from None
    ordered = not scale or (len(scale) == 2 and scale[0] < scale[1])
    check(ordered, f"{path}: scale must be [lowest, highest]")
    return scale


def _by_split(path: str, name: str, value) -> dict:
    known = isinstance(value, dict) and value.keys() <= set(glue.SPLIT_NAMES)
    check(known, f"{path}: {name} must be a mapping with keys among {', '.join(glue.SPLIT_NAMES)}")
    return value
