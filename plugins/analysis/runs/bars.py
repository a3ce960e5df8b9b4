"""Numbers for bar charts: speeds from the JSON of a benchmark, consistency from the JSON of ``evaluate_style.py``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.analysis.metrics.means import mean_and_error
from plugins.errors import UserError
from plugins.files import read_json

CONDITIONS = {  # conditions of evaluate_style.py and their labels in figures
    "real": "real text",
    "prompted": "with a prompt of the style",
    "given": "with the style given",
    "transfer": "with the style given, and a prompt of another",
    "random letters": "random letters",
}
NEAREST = "nearest_is_asked"
CONSISTENCY = "share of windows whose nearest style is the requested one"

Bars = tuple[np.ndarray, np.ndarray]
"""Values (G,), and the lengths of their error bars below and above, (2, G)."""


def read_speeds(path: str | Path) -> tuple[list[str], str, Bars]:
    """Return the contestants of a benchmark, the unit of their speeds, and the medians with their ranges.

    Args:
        path: JSON that a script in ``benchmarks/`` wrote with ``--save``.

    Raises:
        UserError: the file cannot be read or contains no speeds.
    """
    rows = read_json(path, dict).get("rows")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    unit = next((key for row in rows for key in row if key.endswith("_per_second")), None)
    if unit is None:
        raise UserError(f"{path}: contains no speeds; pass the file that benchmarks/char_sample.py --save NAME writes")
    found = {row["contestant"]: row[unit] for row in rows if unit in row}
    values = np.array([[speed[part] for speed in found.values()] for part in ("median", "min", "max")])
    return list(found), unit.replace("_", " "), (values[0], np.abs(values[1:] - values[0]))


def read_evaluation(path: str | Path) -> dict:
    """Return the evaluation of a model that ``scripts/evaluate_style.py`` wrote.

    Raises:
        UserError: the file cannot be read or contains something else.
    """
    content = read_json(path, dict)
    if not {"checkpoint", "options", "styles", "chance", "model_has_these_styles", "sees_the_future"} <= content.keys():
        raise UserError(f"{path}: not an evaluation; pass the file that scripts/evaluate_style.py -o FILE writes")
    return content


def consistency(evaluations: Mapping[str, Sequence[Mapping]], judge: str = "svm") -> dict[str, Bars]:
    """Return how often the text of each model is nearest to the requested style, under each condition that occurs.

    The judge answers with the nearest of the K styles, so that chance is 1/K. (Where it may also answer "none", text
    without style is below 1/K, and 1/K is not a chance level.)

    Args:
        evaluations: by the name of a configuration, those of its seeds; see :func:`read_evaluation`.
        judge: the classifier that decides which style a window has.

    Returns:
        {condition: (values, errors)}. The errors are standard errors: over the seeds, or for a single seed over its
        texts. A configuration without the condition is NaN.
    """
    made = {}
    for condition, name in CONDITIONS.items():
        found = [_over_seeds(of_one, judge, condition, NEAREST) for of_one in evaluations.values()]
        means, errors = np.array([[score["mean"], score["standard_error"]] for score in found]).T
        if not np.isnan(means).all():
            made[name] = means, np.stack([errors, errors])
    return made


def _over_seeds(evaluations, judge, condition, kind) -> dict:
    scores = []
    for evaluation in evaluations:
        texts = evaluation.get("judges", {}).get(judge, {}).get("consistency", {}).get(condition)
        if texts and kind in texts:
            scores.append(texts[kind][str(evaluation["options"]["window"])])
    if len(scores) == 1:
        return {name: math.nan if value is None else value for name, value in scores[0].items()}
    return mean_and_error([math.nan if score["mean"] is None else score["mean"] for score in scores])


def one_by_one(series: Mapping[str, Bars]) -> tuple[list[str], Bars]:
    """Return series with a single value each as one series: its names and values."""
    values, errors = zip(*series.values(), strict=True)
    return list(series), (np.concatenate(values), np.concatenate(errors, axis=1))
