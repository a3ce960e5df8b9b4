"""Compare losses with equal budgets: the same batches, a grid for each loss, then several seeds of its best setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.analysis.metrics import retrieval
from plugins.data.embedding import losses, rows, specs
from plugins.embeddings import evaluation
from plugins.jobs import Job
from plugins.tables import markdown

METRICS = ("knn_accuracy_1", "ami", "hard_triplets")
CHOICE = "knn_accuracy_1_of_choice"  # of the half of the rows that chooses the setting


@dataclass(frozen=True)
class Setting:
    """A loss with its options.

    Attributes:
        loss: its name.
        lr: learning rate.
        margin: None for the loss's default.
    """

    loss: str
    lr: float
    margin: float | None = None

    @property
    def name(self) -> str:
        """A name for a folder."""
        return f"{self.loss}-lr{self.lr:g}" + ("" if self.margin is None else f"-m{self.margin:g}")

    def options(self) -> tuple:
        """Return the options of the command line."""
        margin = () if self.margin is None else ("--margin", self.margin)
        return ("--metric-loss", self.loss, "--lr", self.lr, *margin)


def grid(names: Sequence[str], rates: Sequence[float], margins: Sequence[float]) -> list[Setting]:
    """Return the settings to try for each loss: every rate, with every margin where it has one, and the default."""
    found = []
    for name in names:
        own = [None, *margins] if losses.LOSSES[name].margin is not None else [None]
        found += [Setting(name, rate, margin) for rate in rates for margin in own]
    return found


def comparable() -> list[str]:
    """Return the losses that need only labeled texts."""
    return [name for name, loss in losses.LOSSES.items() if specs.LABELED in loss.kinds and not loss.teacher]


@dataclass(frozen=True)
class Evaluation:
    """Result of a job after training; plain data, because a job may run elsewhere.

    Attributes:
        data: folder of the texts.
        words: words of a passage of a folder of CLASS.txt files.
        spec: YAML file, or None.
        hard: file of hard triplets of the rows that are scored.
        limit: validation rows at most, drawn at random.
    """

    data: str
    words: int
    spec: str | None
    hard: str
    limit: int

    def rows(self) -> tuple[list[str], np.ndarray]:
        """Return the validation texts and their classes (N,)."""
        spec = specs.read(self.spec) if self.spec else specs.of_folder()
        found = rows.load(self.data, spec, "valid", self.words)
        chosen = np.sort(np.random.default_rng(0).permutation(len(found))[: self.limit])
        assert found.labels is not None  # of labeled texts
        return [found.texts[0][i] for i in chosen], found.labels[chosen]

    def __call__(self, folder: Path, device: str) -> dict[str, float]:
        from plugins.hub import Embedder

        texts, labels = self.rows()
        vectors = Embedder.from_pretrained(str(folder / "checkpoint_last.pt")).to(device).encode(texts)
        return self.score(vectors, labels, np.load(self.hard, allow_pickle=False))

    @staticmethod
    def score(vectors: np.ndarray, labels: np.ndarray, hard: np.ndarray) -> dict[str, float]:
        """Return the metrics of every second row, and :data:`CHOICE` of the others, which choose the setting."""
        chooses = retrieval.class_metrics(vectors[::2], labels[::2])["knn_accuracy_1"]
        return {CHOICE: chooses} | evaluation.evaluate(vectors[1::2], labels[1::2], hard)


def job(setting: Setting, seed: int, common: Sequence, updates: int, finish: Evaluation) -> Job:
    """Return the job of a setting with a seed."""
    command = ("fairseq-train", finish.data, *common, *setting.options(), "--seed", seed, "--max-update", updates)
    name = f"{setting.name}-seed{seed}"
    return Job(name, tuple(map(str, command)), updates=updates, finish=finish)


def best_settings(results: Mapping[Setting, Mapping[str, float]], metric: str = CHOICE) -> dict[str, Setting]:
    """Return the best setting of each loss; of equal ones the first."""
    best: dict[str, Setting] = {}
    for setting, scores in results.items():
        held = best.get(setting.loss)
        if held is None or scores[metric] > results[held][metric]:
            best[setting.loss] = setting
    return best


def table(scores: Mapping[str, Sequence[Mapping[str, float]]], chosen: Mapping[str, str]) -> str:
    """Return means and standard deviations over seeds as a Markdown table, the best mean first.

    Args:
        scores: {name: metrics of each seed}.
        chosen: {name: its setting}.
    """
    rows = []
    order = sorted(scores, key=lambda name: -np.mean([row[METRICS[0]] for row in scores[name]]))
    for name in order:
        cells = []
        for metric in METRICS:
            values = [row[metric] for row in scores[name]]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        rows.append([name, chosen.get(name, ""), *cells, len(scores[name])])
    return markdown(["representation", "setting", *METRICS, "seeds"], rows)
