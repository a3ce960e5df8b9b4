"""Pinned lexical bias of a fine-tuned classifier: its probabilities for words in templates, and the files of a report.

The statistics are in :mod:`plugins.diagnostics.pinned`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from plugins import tables
from plugins.data.glue import reader, specs
from plugins.diagnostics import formats, pinned
from plugins.diagnostics.columns import read_texts
from plugins.errors import UserError, check
from plugins.files import make_folder

from . import predict


@dataclass(frozen=True)
class Measured:
    """Probabilities of K labels for m listed words and V random ones in P templates.

    Attributes:
        templates: the P templates.
        labels: names of the L reported labels.
        listed: (m, P, L) probabilities for the words of the list.
        random: (V, P, L) the same for the different random words.
        comparisons: {(label, template): comparison}.
    """

    templates: list[str]
    labels: list[str]
    listed: np.ndarray
    random: np.ndarray
    comparisons: dict[tuple[str, str], pinned.Comparison]


def training_texts(
    model: Any, glue_dir: str | Path | None, data: str | Path | None = None, column: str | None = None
) -> list[str]:
    """Return the training texts of a model's task, the texts of a pair one after the other.

    Args:
        model: returned by :func:`plugins.hub.load` for a checkpoint of the task ``glue``.
        glue_dir: folder of the task's files.
        data: a table to read instead.
        column: its column of the texts; None: the first known name.

    Raises:
        UserError: a file is missing or bad, or the model has no classification head.
    """
    if data is not None:
        return read_texts(data, column)
    check(glue_dir is not None, "--glue-dir or --data must name the training texts")
    spec = predict.spec_of(model)
    path = reader.locate(str(glue_dir), spec, specs.TRAIN)
    return [" ".join(row) for row in zip(*reader.read(path, spec, specs.TRAIN).texts, strict=True)]


def measure(
    model: Any, matched: pinned.Matched, templates: Sequence[str] = pinned.TEMPLATES, label: str | None = None,
    reference: str = "above",
) -> Measured:  # fmt: skip
    """Return the pinned bias of words for labels and templates.

    Args:
        model: returned by :func:`plugins.hub.load` for a checkpoint of the task ``glue``.
        matched: the words, and random ones.
        templates: P texts with ``{}`` where the word goes.
        label: name of one label; None: each one.
        reference: see :func:`plugins.diagnostics.pinned.bias`.

    Raises:
        UserError: no such label or reference, a bad template, or no classifier.
    """
    spec = predict.spec_of(model)
    names = spec.id2label
    if label is not None and label not in names:
        raise UserError(f"--label {label}: the labels of {spec.name} are {', '.join(names) or 'scores'}")
    templates = list(dict.fromkeys(templates))
    words = [*matched.words, *matched.vocabulary]
    logits = predict.logits_of_texts(model, pinned.fill(templates, words))  # (words x P, K)
    probabilities = softmax(logits.astype(np.float64), axis=-1).reshape(len(words), len(templates), len(names))
    chosen = [label] if label else names
    probabilities = probabilities[:, :, [names.index(name) for name in chosen]]  # (words, P, L)
    listed, random = np.split(probabilities, [len(matched.words)])
    comparisons = {
        (name, template): pinned.compare(listed[:, p, k], random[:, p, k][matched.draws], reference)
        for k, name in enumerate(chosen) for p, template in enumerate(templates)
    }  # fmt: skip
    return Measured(templates, chosen, listed, random, comparisons)


def write(folder: str | Path, matched: pinned.Matched, found: Measured) -> None:
    """Write ``bias.csv``, a row per label and template, and ``words.csv``, a row per word, label and template."""
    folder = Path(folder)
    make_folder(folder)
    columns: dict[str, Any] = {"label": [], "template": []}
    for (label, template), values in found.comparisons.items():
        for name, value in {"label": label, "template": template, **vars(values)}.items():
            columns.setdefault(name, []).append(value)
    formats.write_csv(folder / "bias.csv", columns)
    groups = (("listed", matched.words, found.listed), ("random", matched.vocabulary, found.random))
    rows = [
        (word, kind, label, template, float(values[i, p, k]))
        for kind, words, values in groups for i, word in enumerate(words)
        for k, label in enumerate(found.labels) for p, template in enumerate(found.templates)
    ]  # fmt: skip
    names = ("word", "kind", "label", "template", "probability")
    formats.write_csv(folder / "words.csv", dict(zip(names, zip(*rows, strict=True), strict=True)))


def table(found: Measured) -> str:
    """Return the comparisons as aligned text."""
    rows = [["label", "template", "bias", "random words", "95 %", "p", "mean probability", "random words"]]
    for (label, template), one in found.comparisons.items():
        values = (one.bias, one.random, one.random_high, one.p_value, one.probability, one.random_probability)
        rows.append([label, template, *(f"{value:.3f}" for value in values)])
    return tables.aligned(rows)
