"""Transfer between tasks: training-free scores, the matrix of gains, and how well the scores predict the gains."""

import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from plugins.analysis.transfer import judging, task_embeddings, transferability
from plugins.data.glue import reader
from plugins.data.glue import specs as glue_specs
from plugins.errors import UserError
from plugins.files import make_folder
from plugins.hub import Embedder
from plugins.jobs import Job, Resources, Runner

FULL = "full"
DIRECT = "direct"  # no intermediate task


def spec_of(name: str) -> glue_specs.GlueSpec:
    """Return the spec of a GLUE task.

    Raises:
        UserError: no such task, or a regression, which has no classes.
    """
    spec = glue_specs.find(name, "--tasks")
    if spec.is_regression:
        raise UserError(f"--tasks {name}: a regression; tasks with classes are needed")
    return spec


# Without training


@dataclass(frozen=True)
class Features:
    """Rows of a task.

    Attributes:
        ids: token ids of N inputs.
        labels: (N,) class ids.
        vectors: (N, d) of the model.
    """

    ids: list
    labels: np.ndarray
    vectors: np.ndarray


@torch.inference_mode()
def features(embedder: Embedder, glue_dir: str, spec: glue_specs.GlueSpec, rows: int, seed: int = 1) -> Features:
    """Return training rows of a task, drawn at random, with their vectors; two texts are one input."""
    examples = reader.read(reader.locate(glue_dir, spec, glue_specs.TRAIN), spec, glue_specs.TRAIN)
    chosen = np.random.default_rng(seed).permutation(len(examples.index))[:rows]
    texts = [[column[i] for column in examples.texts] for i in chosen]
    ids = [input_of(embedder, row) for row in texts]
    bar = tqdm(ids, spec.name, leave=False, disable=None)
    vectors = np.stack([embedder.head(*features_of(embedder, row))[0].float().numpy() for row in bar])
    assert examples.labels is not None  # of a training split
    return Features(ids, examples.labels[chosen], vectors)


def input_of(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Return the ids (T,) of one text, or of two joined as in the model's fine-tuning: ``<s> A </s> </s> B
    </s>``; each is truncated to its share.
    """
    encoder, room = embedder.encoder, embedder.longest // len(texts)
    parts = [encoder(text, room) for text in texts]
    if len(parts) == 1:
        return parts[0]
    second = parts[1][len(encoder.before) :]
    return np.concatenate([parts[0], encoder.after, second]).astype(np.int64)


def features_of(embedder: Embedder, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features (1, T, C) of an input and its length (1,)."""
    tokens, lengths = torch.from_numpy(ids)[None], torch.tensor([len(ids)])
    return embedder.model(tokens, src_lengths=lengths, features_only=True)[0], lengths


def fisher(embedder: Embedder, task: Features) -> dict[str, np.ndarray]:
    """Return TaskEmb: the Fisher information of the weights of the layers, under a linear head on the vectors.

    The head is a logistic regression on the frozen vectors, and is left out of the embedding (Achille et al., 2019,
    Task2Vec, section 3, which does so in place of fine-tuning the model for each task).
    """
    from sklearn.linear_model import LogisticRegression

    scale = task.vectors.std() or 1.0
    probe = LogisticRegression(max_iter=1000).fit(task.vectors / scale, task.labels)
    weight, bias = (torch.from_numpy(x / y).float() for x, y in ((probe.coef_, scale), (probe.intercept_, 1.0)))
    if len(bias) == 1:  # two classes
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    classes = np.searchsorted(probe.classes_, task.labels)

    def loss(row: np.ndarray, label: int) -> torch.Tensor:
        vector = embedder.head(*features_of(embedder, row))
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
    """Return the scores without training of a model's features for a task."""
    return {name: score(task.vectors, task.labels) for name, score in transferability.SCORES.items()}


# The matrix of gains


@dataclass(frozen=True)
class Score:
    """Result of a job: the official metric on the validation rows; plain data, because a job may run elsewhere."""

    glue_dir: str

    def __call__(self, folder: Path, device: str) -> dict:
        import plugins.hub
        from plugins.glue import predict

        given = predict.answers(plugins.hub.load(str(folder / "checkpoint_last.pt")), self.glue_dir, glue_specs.VALID)
        return {"score": given.scores()[given.spec.best], "collapsed": bool(given.collapsed())}


def shortened(glue_dir: str, spec: glue_specs.GlueSpec, size: str, folder: Path, seed: int = 1) -> Path:
    """Return a GLUE folder whose training split of a task has ``size`` rows, drawn at random.

    Raises:
        UserError: there are fewer.
    """
    if size == FULL:
        return Path(glue_dir)
    train, target = reader.locate(glue_dir, spec, glue_specs.TRAIN), folder / f"data-{size}" / spec.name
    make_folder(target)
    lines = train.read_text(encoding="utf-8").splitlines(keepends=True)
    header = [] if spec.headless and glue_specs.TRAIN in spec.headless else lines[:1]
    rows = lines[len(header) :]
    if int(size) > len(rows):
        raise UserError(f"--sizes {size}: {train} has {len(rows)} rows")
    chosen = sorted(np.random.default_rng(seed).permutation(len(rows))[: int(size)])
    (target / train.name).write_text("".join(header + [rows[i] for i in chosen]), encoding="utf-8")
    for split in spec.valid_splits:
        path = reader.locate(glue_dir, spec, split)
        shutil.copyfile(path, target / path.name)
    return target.parent


def job(
    name: str, spec: glue_specs.GlueSpec, data: Path, start: str | Path, common: Sequence, updates: int, seed: int
) -> Job:
    """Return the job of fine-tuning on a task from a checkpoint."""
    run = ("--glue-task", spec.name, "--finetune-from-model", start, "--seed", seed, "--max-update", updates)
    command = ("fairseq-train", data, *run, *common)
    return Job(name, tuple(map(str, command)), updates=updates, finish=Score(str(data)))


def matrix(
    tasks: Mapping[str, glue_specs.GlueSpec], glue_dir: str, sizes: Sequence[str], seeds: int, checkpoint: str,
    common: Sequence, updates: int, output: Path, resources: Resources,
) -> list[dict]:  # fmt: skip
    """Fine-tune every target from every source, and return the rows of ``transfer.csv``.

    Args:
        sizes: ``full``, or numbers of training rows of the target.
        common: options that all runs share.
    """
    data = {(name, size): shortened(glue_dir, spec, size, output) for name, spec in tasks.items() for size in sizes}
    stages = len(tasks) + len(tasks) * len(tasks) * len(sizes) * seeds
    with Runner(output / "runs", resources, total=stages) as runner:
        whole = Path(glue_dir)
        runner.run([job(f"source-{s}", spec, whole, checkpoint, common, updates, 1) for s, spec in tasks.items()])
        names, jobs = {}, []
        for (target, size), folder in data.items():
            for source in [DIRECT, *(name for name in tasks if name != target)]:
                start = checkpoint if source == DIRECT else output / "runs" / f"source-{source}" / "checkpoint_last.pt"
                for seed in range(1, seeds + 1):
                    name = f"{source}-to-{target}-{size}-seed{seed}"
                    names[name] = {"source": source, "target": target, "size": size, "seed": seed}
                    jobs.append(job(name, tasks[target], folder, start, common, updates, seed))
        found = runner.run(jobs)
    return with_gains([names[name] | result for name, result in found.items()])


def with_gains(rows: Sequence[Mapping]) -> list[dict]:
    """Return rows with ``gain``, the score less that of the direct run of the same target, size and seed.

    A gain is NaN if either run predicts a single class: any source looks good compared with a collapsed run.
    """
    direct = {(row["target"], row["size"], row["seed"]): row for row in rows if row["source"] == DIRECT}
    found = []
    for row in rows:
        base = direct[row["target"], row["size"], row["seed"]]
        usable = not (row["collapsed"] or base["collapsed"])
        found.append(dict(row) | {"gain": row["score"] - base["score"] if usable else float("nan")})
    return found


def summary(rows: Sequence[Mapping]) -> str:
    """Return mean gains with deviations over seeds as a Markdown table, one row per target and size."""
    sources = sorted({row["source"] for row in rows} - {DIRECT})
    lines = ["| target | rows | direct | " + " | ".join(sources) + " |", "|---" * (len(sources) + 3) + "|"]
    for target, size in dict.fromkeys((row["target"], row["size"]) for row in rows):
        mine = [row for row in rows if (row["target"], row["size"]) == (target, size)]
        direct = [row["score"] for row in mine if row["source"] == DIRECT]
        cells = [_spread(direct, "{:.3f}")]
        for source in sources:
            gains = [row["gain"] for row in mine if row["source"] == source]
            cells.append("" if not gains else "collapsed" if np.isnan(gains).any() else _spread(gains, "{:+.3f}"))
        lines.append(f"| {target} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float], form: str) -> str:
    return form.format(np.mean(values)) + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def judge(similar: Sequence[Mapping], rows: Sequence[Mapping], sizes: Mapping[str, int]) -> list[dict]:
    """Return how well each method, and two baselines, rank the sources of each target.

    Args:
        similar: rows of ``similarity.csv``.
        rows: of ``transfer.csv``.
        sizes: {task: training rows}, for the baseline that takes the largest source.
    """
    found = []
    for target, size in dict.fromkeys((row["target"], row["size"]) for row in rows):
        mine = [r for r in rows if (r["target"], r["size"]) == (target, size) and r["source"] != DIRECT]
        sources = dict.fromkeys(r["source"] for r in mine)
        actual = {s: float(np.mean([r["score"] for r in mine if r["source"] == s])) for s in sources}
        if len(actual) < 2:
            continue
        predictions: dict[str, dict[str, float]] = {}
        for row in similar:
            if row["target"] == target:
                predictions.setdefault(row["method"], {})[row["source"]] = row["score"]
        predictions["largest source"] = {name: sizes[name] for name in actual}
        for method, predicted in predictions.items():
            found.append({
                "target": target, "size": size, "method": method, "regret_at_1": judging.regret(predicted, actual, 1),
                "rank_of_best": judging.rank_of_best(predicted, actual), "ndcg": judging.ndcg(predicted, actual),
            })  # fmt: skip
        best = max(actual.values())
        chance = float(np.mean([(best - value) / best for value in actual.values()])) if best else 0.0
        found.append({"target": target, "size": size, "method": "random", "regret_at_1": chance,
                      "rank_of_best": (len(actual) + 1) / 2, "ndcg": float("nan")})  # fmt: skip
    return found


def count_rows(glue_dir: str, spec: glue_specs.GlueSpec) -> int:
    """Return how many training rows a task has."""
    return len(reader.read(reader.locate(glue_dir, spec, glue_specs.TRAIN), spec, glue_specs.TRAIN).index)
