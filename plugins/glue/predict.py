"""Predictions of a fine-tuned model on a split, and the files they are written to."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plugins.analysis.metrics import glue as glue_metrics
from plugins.data.glue import dataset, reader
from plugins.data.glue.specs import GlueSpec
from plugins.errors import UserError, check
from plugins.files import replacing, write_text

BATCH = 64


@dataclass(frozen=True)
class Answers:
    """Predictions of a model for a split of N rows.

    Attributes:
        spec: the task.
        index: names of the rows, (N,).
        outputs: (N, K) logits, or (N, 1) scores.
        targets: (N,) or None.
        loss: mean cross-entropy in nats, or mean squared error; None without targets.
    """

    spec: GlueSpec
    index: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray | None
    loss: float | None

    @property
    def predictions(self) -> np.ndarray:
        """Class ids or scores, (N,)."""
        return self.outputs[:, 0] if self.spec.is_regression else self.outputs.argmax(1)

    def scores(self) -> dict[str, float]:
        """Return the official metrics, and for a regression also its two losses."""
        assert self.targets is not None  # answers to labeled rows
        found = glue_metrics.scores(self.spec.metrics, self.predictions, self.targets)
        if self.spec.is_regression:
            mse = glue_metrics.mean_squared_error(self.predictions, self.targets)
            found |= {"mse": mse, "published_loss": glue_metrics.published_loss(mse, self.spec.scale)}
        return found

    def collapsed(self) -> bool:
        """Return whether one class, or one number, is predicted for nearly all rows."""
        return glue_metrics.collapsed(self.predictions, self.spec.scale)


def answers(
    model: Any,
    glue_dir: str | Path,
    split: str,
    spec: GlueSpec | None = None,
    cache: str | None = None,
    skip_bad_rows: bool = False,
) -> Answers:
    """Return the predictions of a model for a split.

    Args:
        model: returned by :func:`plugins.hub.load` for a checkpoint of the task ``glue``.
        spec: another task for the same head (for example AX with a model of MNLI); default: the checkpoint's.

    Raises:
        UserError: no such file, a bad row, or a model without the head.
    """
    own = spec_of(model)
    spec = spec or own
    if spec.name != own.name and spec.id2label != own.id2label:
        raise UserError(f"the checkpoint was fine-tuned on {own.name} ({', '.join(own.id2label)}), not {spec.name}")
    path = reader.locate(glue_dir, spec, split)
    pairs, outputs = outputs_of(model, dataset.load(path, spec, split, model.task.tokenizer, cache, skip_bad_rows))
    return Answers(spec, pairs.index, outputs, pairs.labels, loss_of(spec, outputs, pairs.labels))


def spec_of(model: Any) -> GlueSpec:
    """Return the task that a model was fine-tuned for.

    Raises:
        UserError: the model has no classification head of the task ``glue``.
    """
    own = getattr(getattr(model, "task", None), "spec", None)
    if own is None:
        raise UserError("the checkpoint was not fine-tuned by --task glue: it has no classification head")
    return own


def outputs_of(model: Any, data: dataset.Tokenized) -> tuple[dataset.SentencePairs, np.ndarray]:
    """Return the rows of a split as inputs of a model, and its logits (N, K) or scores (N, 1)."""
    task = model.task
    pairs = dataset.SentencePairs(data, task.dictionary, task.max_positions(), pad_multiple=4)
    outputs = np.zeros((len(pairs), task.spec.outputs), np.float32)
    with torch.inference_mode():
        for rows in pairs.batch_by_size(pairs.ordered_indices(), max_sentences=BATCH):
            tokens = pairs.collater([pairs[i] for i in rows])["net_input"]["src_tokens"]
            outputs[rows] = model.predict(task.head_name, tokens, return_logits=True).float().cpu().numpy()
    return pairs, outputs


def logits_of_texts(model: Any, texts: Sequence[str]) -> np.ndarray:
    """Return the logits of a classifier for N single texts, (N, K).

    Args:
        model: returned by :func:`plugins.hub.load` for a checkpoint of the task ``glue``.
        texts: the texts. A model of pairs sees each as its only text.

    Raises:
        UserError: a model without the head, or of a regression.
    """
    check(not spec_of(model).is_regression, f"the checkpoint predicts scores ({model.task.spec.name}), not classes")
    examples = reader.Examples([list(texts)], None, [str(i) for i in range(len(texts))])
    return outputs_of(model, dataset.tokenize(examples, model.task.tokenizer))[1]


def loss_of(spec: GlueSpec, outputs: np.ndarray, targets: np.ndarray | None) -> float | None:
    """Return the mean cross-entropy in nats, or the mean squared error; None without targets.

    Args:
        spec: the task.
        outputs: (N, K) logits or (N, 1) scores.
        targets: (N,).
    """
    if targets is None:
        return None
    outputs, targets = torch.from_numpy(outputs).double(), torch.from_numpy(targets)
    if spec.is_regression:
        return float(torch.nn.functional.mse_loss(outputs[:, 0], targets.double()))
    return float(torch.nn.functional.cross_entropy(outputs, targets))


# Files


def prediction_lines(given: Answers, names: Sequence[str]) -> list[str]:
    """Return the lines ``index<TAB>prediction``, a header first.

    Args:
        given: the predictions.
        names: text of each class id.
    """
    if given.spec.is_regression:
        written = [f"{score:.3f}" for score in given.predictions.clip(*given.spec.scale)]
    else:
        written = [names[i] for i in given.predictions]
    return ["index\tprediction", *(f"{row}\t{text}" for row, text in zip(given.index, written, strict=True))]


def write_predictions(path: str | Path, given: Answers) -> None:
    """Write predictions in the format of Hugging Face's ``predict_results_TASK.txt``: labels by name."""
    write_text(path, "\n".join(prediction_lines(given, given.spec.id2label)) + "\n")


def write_valid(path: str | Path, given: Answers) -> None:
    """Write predictions and true labels, by id and in full precision, so that the metrics can be recomputed."""
    assert given.targets is not None  # answers to labeled rows
    values = [
        f"{row}\t{float(p)!r}\t{float(t)!r}" if given.spec.is_regression else f"{row}\t{p}\t{t}"
        for row, p, t in zip(given.index, given.predictions, given.targets, strict=True)
    ]
    write_text(path, "\n".join(["index\tprediction\tlabel", *values]) + "\n")


def write_submission(path: str | Path, files: Mapping[str, Answers]) -> None:
    """Write a zip file for gluebenchmark.com, with the labels of the official files.

    Args:
        path: the file to write.
        files: {name in the zip: predictions}.
    """
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, given in files.items():
            archive.writestr(name, "\n".join(prediction_lines(given, given.spec.labels)) + "\n")
