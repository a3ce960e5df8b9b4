"""What a run of ``fairseq-train --log-format json`` says about itself: curves and summaries from its log.

A line of such a log has a prefix, the stage and one JSON object whose values are all strings::

    2026-01-31 12:00:00 | INFO | valid | {"epoch": 1, "valid_ppl": "300.1", "valid_num_updates": "80"}
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

INNER, TRAIN, VALID = "train_inner", "train", "valid"  # fairseq's names: every few updates, every epoch, validation

_LINE = re.compile(r"\| (train_inner|train|valid\w*) \| (\{.*\})\s*$")

_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+) \(num\. trained: ([\d,]+)\)")


@dataclass(frozen=True)
class Record:
    """One line of numbers.

    Attributes:
        stage: :data:`INNER`, :data:`TRAIN`, or the name of a validation split.
        values: numbers by name, without the ``train_`` or ``valid_`` that fairseq puts before some.
    """

    stage: str
    values: dict[str, float]

    @property
    def updates(self) -> int:
        """Updates made when the line was written."""
        return int(self.values.get("num_updates", 0))


def parse_line(line: str) -> Record | None:
    """Return the record in a line of a log, or None if the line holds something else."""
    match = _LINE.search(line)
    if match is None:
        return None
    stage, text = match.groups()
    try:
        pairs = json.loads(text)
    except json.JSONDecodeError:  # cut off in the middle, as at the end of an interrupted run
        return None
    values = {name.removeprefix(f"{stage}_"): _number(value) for name, value in pairs.items()}
    return Record(stage, {name: value for name, value in values.items() if value is not None})


def _number(value) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def read_log(lines: Iterable[str]) -> list[Record]:
    """Return the records of a log in the order of their updates.

    A resumed run goes on from its last checkpoint and repeats the updates after that, so a line takes the place
    of all earlier ones of its stage that were not before it.
    """
    kept: dict[str, list[Record]] = {}
    for record in filter(None, map(parse_line, lines)):
        stage = kept.setdefault(record.stage, [])
        while stage and stage[-1].updates >= record.updates:
            stage.pop()
        stage.append(record)
    return sorted((r for stage in kept.values() for r in stage), key=lambda r: r.updates)


def curve(records: Iterable[Record], name: str, stage: str = VALID) -> tuple[np.ndarray, np.ndarray]:
    """Return (updates, values) of a quantity at a stage, each (N,)."""
    points = [(r.updates, r.values[name]) for r in records if r.stage == stage and name in r.values]
    updates, values = np.array(points, dtype=float).reshape(-1, 2).T
    return updates.astype(int), values


@dataclass(frozen=True)
class Summary:
    """A run in four numbers; what the log does not say is NaN.

    Attributes:
        updates: updates made.
        perplexity: the best in validation.
        tokens_per_second: of training, without validation and checkpoints.
        seconds: of training, validation and checkpoints, earlier parts of a resumed run included.
    """

    updates: int
    perplexity: float
    tokens_per_second: float
    seconds: float


def summarize(records: list[Record]) -> Summary:
    """Return what a table of runs shows."""
    _, perplexity = curve(records, "ppl")
    _, speed = curve(records, "wps", INNER)
    seconds = [r.values["wall"] for r in records if "wall" in r.values]
    return Summary(
        updates=max((r.updates for r in records), default=0),
        perplexity=float(min(perplexity, default=math.nan)),
        # The median, because an interval with a validation in it counts that time too, and the first has none.
        tokens_per_second=float(np.median(speed[speed > 0])) if (speed > 0).any() else math.nan,
        seconds=seconds[-1] if seconds else math.nan,
    )


def count_parameters(lines: Iterable[str], trained: bool = False) -> int | None:
    """Return how many parameters the model has, as fairseq says before it trains; None if it has not yet.

    Args:
        trained: count those alone that move.
    """
    for line in lines:
        match = _PARAMETERS.search(line)
        if match:
            return int(match.group(2 if trained else 1).replace(",", ""))
    return None


def average(curves: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (updates, means, standard errors), each (N,), of several runs' curves where all of them have a value.

    The standard error of one run is 0, so that a band around its curve has no width.
    """
    curves = [dict(zip(*map(np.ndarray.tolist, points), strict=True)) for points in curves]
    shared = sorted(set.intersection(*(set(points) for points in curves)))
    values = np.array([[points[x] for x in shared] for points in curves])  # (runs, N)
    deviation = values.std(0, ddof=1) if len(curves) > 1 else np.zeros(len(shared))
    return np.array(shared, dtype=int), values.mean(0), deviation / math.sqrt(len(curves))


def unigram_perplexity(train_counts: np.ndarray, valid_counts: np.ndarray) -> float:
    """Return the perplexity of guessing every token by its frequency alone: what learning nothing else gives.

    Args:
        train_counts: (V,) how often each token occurs where the frequencies are taken from; one is added to each,
            so that no token is impossible.
        valid_counts: (V,) how often each occurs in the text that is predicted.
    """
    frequency = (train_counts + 1) / (train_counts + 1).sum()
    return float(np.exp(-(valid_counts * np.log(frequency)).sum() / valid_counts.sum()))
