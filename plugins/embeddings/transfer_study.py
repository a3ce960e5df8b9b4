"""Study of transfer between tasks: task embeddings, transferability scores and measured gains, in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.analysis.transfer.task_embeddings import cosine, mean_cosine
from plugins.files import replacing, staging, write_text
from plugins.hub.embedder import Embedder
from plugins.jobs.resources import Resources

from . import evaluation, figures, gains, transfer


@dataclass(frozen=True)
class Prediction:
    """Which sources suit a target, without training.

    Attributes:
        similar: a row for each method and each pair of tasks: method, source, target, score, rank.
        scores: a row for each task: transferability scores of its features.
        arrays: the contents of ``task_embeddings.npz``: TextEmb of each task, and TaskEmb of each task and weight.
        maps: {method: similarity of each pair of tasks}.
    """

    similar: list[dict]
    scores: list[dict]
    arrays: dict[str, np.ndarray]
    maps: dict[str, list[list[float]]]

    def write(self, folder: Path) -> None:
        """Write ``task_embeddings.npz``, ``similarity.csv``, ``similarity.png``, ``features.csv`` and ``map.png``."""
        names = [row["task"] for row in self.scores]
        with staging(folder) as part:
            with replacing(part / "task_embeddings.npz") as path, open(path, "wb") as file:
                np.savez(file, **self.arrays)  # type: ignore[arg-type]
            evaluation.write_table(part / "similarity.csv", self.similar)
            evaluation.write_table(part / "features.csv", self.scores)
            figures.task_maps(part / "map.png", names, self.maps)
            title = "How similar are two tasks to the model?"
            figures.similarities(part / "similarity.png", names, self.similar, "TaskEmb, mean cosine", title)


def predict(embedder: Embedder, tasks: Mapping[str, transfer.Task], rows: int) -> Prediction:
    """Rank the sources of every target without training.

    Args:
        tasks: {name: task}.
        rows: number of training rows to read of each task.

    Raises:
        UserError: the rows of a task have too few of a class.
    """
    features = {name: transfer.features(embedder, task, rows) for name, task in tasks.items()}
    for name, found in features.items():
        transfer.check_classes(tasks[name], found)
    text = {name: found.vectors.mean(0) for name, found in features.items()}  # (d,) each
    fishers = {name: transfer.fisher(embedder, found) for name, found in features.items()}
    arrays = {f"TextEmb/{name}": vector for name, vector in text.items()}
    for name, found in fishers.items():
        arrays |= {f"TaskEmb/{name}/{component}": array for component, array in found.items()}
    similar = transfer.similarity_rows(text, fishers)
    scores = [{"task": name, **transfer.scores_of(found)} for name, found in features.items()]
    names = list(tasks)
    maps = {
        "TextEmb": [[cosine(text[a], text[b]) for b in names] for a in names],
        "TaskEmb": [[1.0 if a == b else mean_cosine(fishers, a)[b] for b in names] for a in names],
    }
    return Prediction(similar, scores, arrays, maps)


def measure(
    tasks: Mapping[str, transfer.Task],
    similar: Sequence[dict],
    folder: Path,
    *,
    sizes: Sequence[str],
    seeds: int,
    checkpoint: str,
    options: Sequence,
    updates: int,
    resources: Resources,
) -> str:
    """Fine-tune on every target from every source, and compare the gains with the ranks of :func:`predict`.

    Args:
        tasks: {name: task}.
        similar: of the :class:`Prediction`.
        folder: receives ``transfer.csv``, ``judgment.csv``, ``gains.md``, ``gains-SIZE.png``; runs in it are resumed.
        sizes: training rows of the targets: ``full``, or numbers.
        seeds: number of seeds.
        checkpoint: path of the masked LM that every run starts from.
        options: options of ``fairseq-train`` that all runs share.
        updates: updates of each run.
        resources: how the runs are started.

    Returns:
        The tables in Markdown.
    """
    found = transfer.matrix(tasks, sizes, seeds, checkpoint, options, updates, folder, resources)
    judged = gains.judge(similar, found, {name: transfer.count_rows(task) for name, task in tasks.items()})
    text = "\n\n".join([gains.summary(found), *([gains.judgment(judged)] if judged else [])])
    with staging(folder) as part:
        evaluation.write_table(part / "transfer.csv", found)
        if judged:
            evaluation.write_table(part / "judgment.csv", judged)
        for size in sizes:
            means, errors = gains.mean_gains(found, size, list(tasks))
            figures.gains(part / f"gains-{size}.png", list(tasks), means, errors, size)
        write_text(part / "gains.md", text + "\n")
    return text
