"""Transfer between tasks: scores without training, and fine-tuning from every source on every target."""

import functools
import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from plugins.analysis.transfer import task_embeddings, transferability
from plugins.data.glue import reader, sample
from plugins.data.glue import specs as glue_specs
from plugins.data.text import columnar
from plugins.embeddings import gains
from plugins.errors import UserError
from plugins.files import replacing
from plugins.hub import Embedder
from plugins.jobs import Job, Resources, Runner, digest, exclusive

FULL = "full"


@dataclass(frozen=True)
class Task:
    """A task and its data.

    Attributes:
        spec: specification of the task.
        data: folder of the task's files, or GLUE folder.
        named: ``fairseq-train`` options that select the task.
    """

    spec: glue_specs.GlueSpec
    data: Path
    named: tuple[str, str]


def task_of(name: str, glue_dir: str) -> Task:
    """Return a task by its GLUE name or from a YAML file; the data are in the GLUE folder or next to the file.

    Raises:
        UserError: the task is unknown, or a regression, which has no classes.
    """
    own = name.endswith((".yaml", ".yml"))
    spec = glue_specs.read(name) if own else glue_specs.find(name, "--tasks")
    if spec.is_regression:
        raise UserError(f"--tasks {name}: a regression; tasks with classes are needed")
    data = Path(glue_dir)
    near = Path(name).parent
    if own and any(Path(near, folder, spec.files[glue_specs.TRAIN]).is_file() for folder in (*spec.folders, "")):
        data = near
    return Task(spec, data, ("--spec", name) if own else ("--glue-task", spec.name))


# Without training


@dataclass(frozen=True)
class Features:
    """Encoded rows of a task.

    Attributes:
        ids: token ids of N inputs.
        labels: (N,) class ids.
        vectors: (N, d) vectors of the model.
    """

    ids: list
    labels: np.ndarray
    vectors: np.ndarray


@torch.inference_mode()
def features(embedder: Embedder, task: Task, rows: int, seed: int = 1) -> Features:
    """Sample training rows of a task and compute their vectors; a pair of texts is encoded as one input.

    Args:
        embedder: the model.
        task: the task.
        rows: maximum number of rows.
        seed: random seed of the sample.

    Raises:
        UserError: all rows have the same class.
    """
    spec = task.spec
    examples = reader.read(reader.locate(task.data, spec, glue_specs.TRAIN), spec, glue_specs.TRAIN)
    chosen = np.random.default_rng(seed).permutation(len(examples.index))[:rows]
    assert examples.labels is not None  # a training split has labels
    if len(np.unique(examples.labels[chosen])) < 2:
        raise UserError(
            f"{spec.name}: all {len(chosen)} training rows have the same class; give more --rows, or another task"
        )
    texts = [[column[i] for column in examples.texts] for i in chosen]
    ids = [input_of(embedder, row) for row in texts]
    bar = tqdm(ids, spec.name, leave=False, disable=None)
    vectors = np.stack([embedder.head(*features_of(embedder, row))[0].float().cpu().numpy() for row in bar])
    return Features(ids, examples.labels[chosen], vectors)


def check_classes(task: Task, found: Features) -> None:
    """Check, before any training, that every class has the rows that the cross-validated probe needs.

    Raises:
        UserError: a class has too few.
    """
    classes, counts = np.unique(found.labels, return_counts=True)
    if counts.min() < transferability.FOLDS:
        rare, rows = task.spec.labels[classes[counts.argmin()]], len(found.labels)
        raise UserError(
            f"{task.spec.name}: {counts.min()} of {rows} training rows are of class {rare!r}, and the probe of "
            f"features.csv needs {transferability.FOLDS}: give more --rows, or leave the class out"
        )


def input_of(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Return the token ids (T,) of one text, or of two joined as in fine-tuning, ``<s> A </s> </s> B </s>``.

    Each of two texts is truncated to half of the maximum length.
    """
    encoder, room = embedder.encoder, embedder.longest // len(texts)
    parts = [encoder(text, room) for text in texts]
    if len(parts) == 1:
        return parts[0]
    second = parts[1][len(encoder.before) :]
    return np.concatenate([parts[0], encoder.after, second]).astype(np.int64)


def features_of(embedder: Embedder, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features (1, T, C) of an input and its length (1,)."""
    tokens, lengths = (torch.as_tensor(each, device=embedder.device)[None] for each in (ids, len(ids)))
    return embedder.model(tokens, src_lengths=lengths, features_only=True)[0], lengths


def fisher(embedder: Embedder, task: Features) -> dict[str, np.ndarray]:
    """Return TaskEmb: the diagonal Fisher information of the layers' weights, with a linear head on the vectors.

    The head is a logistic regression on the frozen vectors, which replaces fine-tuning the model on each task (Achille
    et al., 2019, Task2Vec, section 3). The embedding excludes the head.
    """
    from sklearn.linear_model import LogisticRegression

    scale = task.vectors.std() or 1.0
    probe = LogisticRegression(max_iter=1000).fit(task.vectors / scale, task.labels)
    weight, bias = (torch.from_numpy(x / y).float() for x, y in ((probe.coef_, scale), (probe.intercept_, 1.0)))
    if len(bias) == 1:  # two classes
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    classes = np.searchsorted(probe.classes_, task.labels)

    def loss(row: np.ndarray, label: int) -> torch.Tensor:
        vector = embedder.head(*features_of(embedder, row)).cpu()  # as the probe
        return torch.nn.functional.cross_entropy(vector @ weight.T + bias, torch.tensor([label]))

    blocks = embedder.model.peft_parts().blocks
    parameters = {f"layers.{name}": p for name, p in blocks.named_parameters() if p.requires_grad}
    rows = tqdm(list(zip(task.ids, classes, strict=True)), "Fisher information", leave=False, disable=None)
    return task_embeddings.fisher_diagonal(parameters, (functools.partial(loss, r, y) for r, y in rows))


def similarity_rows(text: Mapping[str, np.ndarray], fishers: Mapping[str, Mapping]) -> list[dict]:
    """Return the rows of ``similarity.csv``: source, target, method, score, rank."""
    found, methods = [], {
        "TextEmb": lambda target: {s: task_embeddings.cosine(text[s], text[target]) for s in text if s != target},
        "TaskEmb": lambda target: task_embeddings.similarities(fishers, target),
        "TaskEmb, mean cosine": lambda target: task_embeddings.mean_cosine(fishers, target),
    }  # fmt: skip
    for method, score in methods.items():
        for target in text:
            scores = score(target)
            for rank, source in enumerate(sorted(scores, key=lambda name: -scores[name]), start=1):
                row = {"source": source, "target": target, "method": method, "score": scores[source], "rank": rank}
                found.append(row)
    return found


def scores_of(task: Features) -> dict[str, float]:
    """Return the transferability scores of a model's features for a task; no training is needed."""
    return {name: score(task.vectors, task.labels) for name, score in transferability.SCORES.items()}


# The matrix of gains


@dataclass(frozen=True)
class TransferScore:
    """Compute the result of a job: the official metric on the validation rows.

    Contains only plain data, because a job may run on another machine.
    """

    glue_dir: str

    def __call__(self, folder: Path, device: str) -> dict:
        import plugins.hub
        from plugins.glue import predict

        given = predict.answers(plugins.hub.load(str(folder / "checkpoint_last.pt")), self.glue_dir, glue_specs.VALID)
        return {"score": given.scores()[given.spec.best], "collapsed": bool(given.collapsed())}


def folder_of(task: Task, size: str, folder: Path) -> Path:
    """Return the folder that :func:`shortened` writes: that of the task if all its rows are used."""
    return task.data if size == FULL else folder / f"data-{size}" / task.spec.name


def shortened(task: Task, size: str, folder: Path, seed: int = 1) -> Path:
    """Return a data folder with ``size`` randomly sampled training rows of a task.

    Raises:
        UserError: the task has fewer training rows.
    """
    spec, target = task.spec, folder_of(task, size, folder)
    if size == FULL:
        return target
    headless = bool(spec.headless and glue_specs.TRAIN in spec.headless)
    for split in (glue_specs.TRAIN, *spec.valid_splits):
        path = reader.locate(task.data, spec, split)
        place = target / (path.name if columnar.is_columnar(path) else spec.files[split])
        place.parent.mkdir(parents=True, exist_ok=True)
        if split == glue_specs.TRAIN:
            sample.write(path, place, int(size), headless, seed)
            continue
        with replacing(place) as part:
            shutil.copyfile(path, part)
    return target


def job(
    name: str, task: Task, data: Path, start: str | Path, common: Sequence, updates: int, seed: int, origin: Any = None
) -> Job:
    """Return the job that fine-tunes a checkpoint on a task.

    Args:
        origin: JSON data that identify the contents of the files, so that a run with others is not taken for this one.
    """
    run = (*task.named, "--finetune-from-model", start, "--seed", seed, "--max-update", updates)
    command = ("fairseq-train", data, *run, *common)
    words = tuple(map(str, command))
    identity = {"command": list(words), "data": origin}
    return Job(name, words, updates, identity, finish=TransferScore(str(data)))


def matrix(
    tasks: Mapping[str, Task], sizes: Sequence[str], seeds: int, checkpoint: str, common: Sequence,
    updates: int, output: Path, resources: Resources,
) -> list[dict]:  # fmt: skip
    """Fine-tune on every target from every source, and return the rows of ``transfer.csv``.

    Args:
        sizes: numbers of training rows of the target, or ``full`` for all.
        common: options that all runs share.
    """
    with exclusive(output / "runs"):
        return _matrix(tasks, sizes, seeds, checkpoint, common, updates, output, resources)


def _matrix(
    tasks: Mapping[str, Task], sizes: Sequence[str], seeds: int, checkpoint: str, common: Sequence,
    updates: int, output: Path, resources: Resources,
) -> list[dict]:  # fmt: skip
    base = digest(checkpoint)
    origins = {name: {"start": base, "files": digest(*files_of(task))} for name, task in tasks.items()}
    first = [job(f"source-{s}", t, t.data, checkpoint, common, updates, 1, origins[s]) for s, t in tasks.items()]
    names, jobs = {}, []
    for size, target in itertools.product(sizes, tasks):
        for source in [gains.DIRECT, *(name for name in tasks if name != target)]:
            tuned = output / "runs" / f"source-{source}" / "checkpoint_last.pt"
            start = checkpoint if source == gains.DIRECT else tuned
            folder = folder_of(tasks[target], size, output)
            origin = {"target": origins[target], "source": origins.get(source)}
            for seed in range(1, seeds + 1):
                name = f"{source}-to-{target}-{size}-seed{seed}"
                names[name] = {"source": source, "target": target, "size": size, "seed": seed}
                jobs.append(job(name, tasks[target], folder, start, common, updates, seed, origin))
    with Runner(output / "runs", resources, total=len(first) + len(jobs)) as runner:
        runner.done([*first, *jobs])  # before the data of other runs are replaced
        for size, target in itertools.product(sizes, tasks):
            shortened(tasks[target], size, output)
        runner.run(first)
        found = runner.run(jobs)
    return gains.with_gains([names[name] | result for name, result in found.items()])


def files_of(task: Task) -> list[Path]:
    """Return the files that decide what is learned of a task: its splits, and its specification if it is a file."""
    splits = [reader.locate(task.data, task.spec, split) for split in (glue_specs.TRAIN, *task.spec.valid_splits)]
    return splits + [Path(task.named[1])] * (task.named[0] == "--spec")


def count_rows(task: Task) -> int:
    """Return the number of training rows of a task."""
    path = reader.locate(task.data, task.spec, glue_specs.TRAIN)
    return len(reader.read(path, task.spec, glue_specs.TRAIN).index)
