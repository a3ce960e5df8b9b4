"""Numbers for bar charts: speeds from the JSON of a benchmark, consistency from that of ``evaluate_style.py``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.analysis.styles.evaluation import mean_and_error
from plugins.errors import UserError
from plugins.files import read_json

CONDITIONS = {  # of evaluate_style.py: what to call them, and which consistency is theirs
    "real": ("real text", "asked_style"),
    "free": ("generated freely", "own_style"),
    "prompted": ("with a prompt of the style", "asked_style"),
    "given": ("with the style given", "asked_style"),
    "transfer": ("with the style given, and a prompt of another", "asked_style"),
}

CONSISTENCY = "share of windows that have the text's style"

Bars = tuple[np.ndarray, np.ndarray]
"""Values (G,), and how far they reach down and up, (2, G)."""


def read_speeds(path: str | Path) -> tuple[list[str], str, Bars]:
    """Return the contestants of a benchmark, what their speed is counted in, and medians from least to most.

    Args:
        path: JSON that a script in ``benchmarks/`` wrote with ``--save``.

    Raises:
        UserError: it holds no speeds.
    """
    rows = read_json(path, dict).get("rows")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    unit = next((key for row in rows for key in row if key.endswith("_per_second")), None)
    if unit is None:
        raise UserError(f"{path}: no speeds in it; give what benchmarks/char_sample.py --save NAME has written")
    found = {row["contestant"]: row[unit] for row in rows if unit in row}
    values = np.array([[speed[part] for speed in found.values()] for part in ("median", "min", "max")])
    return list(found), unit.replace("_", " "), (values[0], np.abs(values[1:] - values[0]))


def read_evaluation(path: str | Path) -> dict:
    """Return what ``scripts/evaluate_style.py`` has written about a model.

    Raises:
        UserError: the file holds something else.
    """
    content = read_json(path, dict)
    if not {"checkpoint", "options", "styles", "chance", "model_has_these_styles", "sees_the_future"} <= content.keys():
        raise UserError(f"{path}: no evaluation; give what scripts/evaluate_style.py -o FILE has written")
    return content


def consistency(evaluations: Mapping[str, Sequence[Mapping]], judge: str = "svm") -> dict[str, Bars]:
    """Return the style consistency of each model's text under each condition that any of them has.

    Args:
        evaluations: by the name of a configuration, those of its seeds; see :func:`read_evaluation`.
        judge: which classifier says what style a window has.

    Returns:
        {what text: (values, errors)}. The errors are standard errors: over the seeds, or of a single one over its
        texts. A configuration without the condition is NaN.
    """
    made = {}
    for condition, (name, kind) in CONDITIONS.items():
        found = [_over_seeds(of_one, judge, condition, kind) for of_one in evaluations.values()]
        means, errors = np.array([[score["mean"], score["standard_error"]] for score in found]).T
        if not np.isnan(means).all():
            made[name] = means, np.stack([errors, errors])
    return made


def _over_seeds(evaluations, judge, condition, kind) -> dict:
    scores = []
    for evaluation in evaluations:
        texts = evaluation.get("judges", {}).get(judge, {}).get("consistency", {}).get(condition)
        if texts:
            scores.append(texts[kind][str(evaluation["options"]["window"])])
    if len(scores) == 1:
        return {name: math.nan if value is None else value for name, value in scores[0].items()}
    return mean_and_error([math.nan if score["mean"] is None else score["mean"] for score in scores])


def one_by_one(series: Mapping[str, Bars]) -> tuple[list[str], Bars]:
    """Return series of a single value each as the names and the values of one."""
    values, errors = zip(*series.values(), strict=True)
    return list(series), (np.concatenate(values), np.concatenate(errors, axis=1))
