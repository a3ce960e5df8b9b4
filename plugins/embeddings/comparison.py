"""Compare losses under one budget: the same batches, a grid search per loss, then several seeds of the best setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.analysis.metrics import retrieval
from plugins.analysis.metrics.means import mean_and_deviation
from plugins.data.embedding import losses, rows, specs
from plugins.embeddings import evaluation
from plugins.errors import UserError
from plugins.jobs import Job, Runner
from plugins.tables import markdown

METRICS = ("knn_accuracy_1", "ami", "hard_triplets")
CHOICE = "knn_accuracy_1_of_choice"  # computed on the half of the rows that chooses the setting


@dataclass(frozen=True)
class LossSetting:
    """A loss with its options.

    Attributes:
        loss: name of the loss.
        lr: learning rate.
        margin: margin of the loss; None for its default.
    """

    loss: str
    lr: float
    margin: float | None = None

    @property
    def name(self) -> str:
        """Name of the run's folder, without the seed."""
        return f"{self.loss}-lr{self.lr:g}" + ("" if self.margin is None else f"-m{self.margin:g}")

    def options(self) -> tuple:
        """Return the options of ``fairseq-train``."""
        margin = () if self.margin is None else ("--margin", self.margin)
        return ("--metric-loss", self.loss, "--lr", self.lr, *margin)


def grid(names: Sequence[str], rates: Sequence[float], margins: Sequence[float]) -> list[LossSetting]:
    """Return the settings to try: each rate with the default margin and, for losses with one, each given margin."""
    found = []
    for name in names:
        own = [None, *margins] if losses.LOSSES[name].margin is not None else [None]
        found += [LossSetting(name, rate, margin) for rate in rates for margin in own]
    return found


def comparable() -> list[str]:
    """Return the losses that need only labeled texts."""
    return [name for name, loss in losses.LOSSES.items() if specs.LABELED in loss.kinds and not loss.teacher]


@dataclass(frozen=True)
class Evaluation:
    """Compute the result of a job after training. Contains only plain data: a job may run on another machine.

    Attributes:
        data: folder of the texts.
        words: words in a passage, for a folder of CLASS.txt files.
        spec: YAML file, or None.
        hard: file of hard triplets of the scored rows.
        limit: maximum number of validation rows, sampled at random.
    """

    data: str
    words: int
    spec: str | None
    hard: str
    limit: int

    def files(self) -> list[Path]:
        """Return the files that decide which texts the runs read."""
        if not self.spec:
            return sorted(Path(self.data).glob("*.txt"))
        spec = specs.read(self.spec)
        return [Path(self.spec), *(rows.locate(self.data, spec, split) for split in ("train", "valid"))]

    def rows(self) -> tuple[list[str], np.ndarray]:
        """Return the validation texts and their classes (N,).

        Raises:
            UserError: the half that is scored has one class only, or no class with two rows.
        """
        spec = specs.read(self.spec) if self.spec else specs.of_folder()
        found = rows.load(self.data, spec, "valid", self.words)
        chosen = np.sort(np.random.default_rng(0).permutation(len(found))[: self.limit])
        assert found.labels is not None  # the spec is one of labeled texts
        labels = found.labels[chosen]
        sizes = np.unique(labels[1::2], return_counts=True)[1]
        if len(sizes) < 2 or sizes.max() < 2:
            raise UserError(
                f"{self.data}: every second of its {len(labels)} validation rows is scored; these need two classes, "
                "one of them with two rows: add texts"
            )
        return [found.texts[0][i] for i in chosen], labels

    def __call__(self, folder: Path, device: str) -> dict[str, float]:
        from plugins.hub import Embedder

        texts, labels = self.rows()
        vectors = Embedder.from_pretrained(str(folder / "checkpoint_last.pt")).to(device).encode(texts)
        return self.score(vectors, labels, np.load(self.hard, allow_pickle=False))

    @staticmethod
    def score(vectors: np.ndarray, labels: np.ndarray, hard: np.ndarray) -> dict[str, float]:
        """Return the metrics of the odd rows, and :data:`CHOICE` of the even rows, which choose the setting."""
        chooses = retrieval.class_metrics(vectors[::2], labels[::2])["knn_accuracy_1"]
        return {CHOICE: chooses} | evaluation.evaluate(vectors[1::2], labels[1::2], hard)


def job(setting: LossSetting, seed: int, common: Sequence, updates: int, finish: Evaluation, origin: Any = None) -> Job:
    """Return the job of a setting with a seed.

    Args:
        origin: JSON data that identify the contents of the files, as in :func:`search`.
    """
    command = ("fairseq-train", finish.data, *common, *setting.options(), "--seed", seed, "--max-update", updates)
    words = tuple(map(str, command))
    identity = {"command": list(words), "rows": finish.limit, "data": origin}
    return Job(f"{setting.name}-seed{seed}", words, updates, identity, finish=finish)


def search(
    runner: Runner, settings: Sequence[LossSetting], seeds: int, common: Sequence, updates: int, finish: Evaluation,
    origin: Any = None,
) -> tuple[dict[str, list[dict[str, float]]], dict[str, LossSetting]]:  # fmt: skip
    """Run every setting with seed 1, and the best setting of each loss also with the seeds 2 to ``seeds``.

    Args:
        runner: runs the jobs.
        settings: from :func:`grid`.
        seeds: number of seeds.
        common: options of ``fairseq-train`` that all runs share.
        updates: updates of each run.
        finish: evaluates each run.
        origin: JSON data that identify the contents of the files: a run with others is not taken for one of these.

    Returns:
        {loss: metrics of its best setting for each seed}, and {loss: its best setting}.

    Raises:
        UserError: a run failed.
    """
    jobs = [job(setting, 1, common, updates, finish, origin) for setting in settings]
    found = runner.run(jobs)
    best = best_settings({setting: found[one.name] for setting, one in zip(settings, jobs, strict=True)})
    more = {
        name: [job(setting, seed, common, updates, finish, origin) for seed in range(1, seeds + 1)]
        for name, setting in best.items()
    }
    found |= runner.run([one for repeated in more.values() for one in repeated[1:]])
    return {name: [found[one.name] for one in repeated] for name, repeated in more.items()}, best


def best_settings(results: Mapping[LossSetting, Mapping[str, float]], metric: str = CHOICE) -> dict[str, LossSetting]:
    """Return the best setting of each loss; the first wins ties."""
    best: dict[str, LossSetting] = {}
    for setting, scores in results.items():
        held = best.get(setting.loss)
        if held is None or scores[metric] > results[held][metric]:
            best[setting.loss] = setting
    return best


def table(scores: Mapping[str, Sequence[Mapping[str, float]]], chosen: Mapping[str, str]) -> str:
    """Return means and standard deviations over seeds as a Markdown table, sorted by the first metric.

    Args:
        scores: {name: metrics of each seed}.
        chosen: {name: setting}.
    """
    rows = []
    order = sorted(scores, key=lambda name: -np.mean([row[METRICS[0]] for row in scores[name]]))
    for name in order:
        cells = []
        for metric in METRICS:
            cells.append(mean_and_deviation([row[metric] for row in scores[name]]))
        rows.append([name, chosen.get(name, ""), *cells, len(scores[name])])
    return markdown(["representation", "setting", *METRICS, "seeds"], rows)
