"""Train the arms of an augmentation experiment, count failures, and write the tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plugins.diagnostics import augmentation, formats, planting
from plugins.diagnostics.augmentation import ARMS, Arm, Evaluated
from plugins.diagnostics.datasets import Rows
from plugins.diagnostics.inspection_report import table
from plugins.diagnostics.specifications import Ranker, Specification
from plugins.errors import check
from plugins.files import make_folder, write_json, write_text
from plugins.jobs import Resources

from . import cross_fitting
from .cross_fitting import Cell, Setting


def run(rows: Rows, specs: Sequence[Specification], number: int, ranker: Ranker, method: str, seeds: Sequence[int],
        held_out: float, setting: Setting | None, resources: Resources) -> list[dict]:  # fmt: skip
    """Train the four arms for each seed, and return a row of results for each arm, seed and evaluated part.

    Args:
        rows: the training rows, split 0, and the pool, split 1.
        specs: specifications; their held-out texts are evaluated.
        number: rows to select for each specification.
        ranker, method: see :func:`.specifications.select`.
        seeds: random seeds of the held-out rows, the random rows and the fine-tuning.
        held_out: fraction of the training rows held out for evaluation.
        setting: settings of the fine-tuning; None: train linear models.
        resources: resources of the fine-tuning.

    Raises:
        UserError: the rows have two texts, a number is too large, a specification is invalid, or a run failed.
    """
    check(len(rows.texts) == 1, "the experiment needs rows of one text; name it with --text")
    texts = rows.texts[0]
    train, pool = np.flatnonzero(rows.splits == 0), np.flatnonzero(rows.splits == 1)
    pool_texts = [texts[i] for i in pool]
    chosen = augmentation.select(pool_texts, specs, number, ranker, method)
    planned: list[tuple[Arm, Evaluated]] = []
    for seed in seeds:
        used, kept = augmentation.split(rows.labels[train], held_out, seed)
        on = augmentation.evaluated([texts[i] for i in train[kept]], rows.labels[train[kept]], rows.classes, specs)
        own = ([texts[i] for i in train[used]], rows.labels[train[used]])
        drawn = augmentation.arms(own, (pool_texts, rows.labels[pool]), rows.classes, specs, chosen, seed)
        planned += [(arm, on) for arm in drawn]
    answers = fine_tuned(planned, rows.classes, setting, resources) if setting else linear(planned, len(rows.classes))
    pairs = zip(planned, answers, strict=True)
    return [row for (arm, on), given in pairs for row in augmentation.results(arm, given, on)]


def linear(planned: Sequence[tuple[Arm, Evaluated]], classes: int) -> list[np.ndarray]:
    """Return the predictions of logistic regressions on TF-IDF vectors for the evaluation rows."""
    found = []
    for arm, on in planned:
        sides = np.repeat([1, 0], [len(arm.texts), len(on.texts)])
        labels = np.concatenate([arm.labels, on.labels])
        given = planting.linear_probabilities([*arm.texts, *on.texts], labels, classes, sides, only=0)
        found.append(given[len(arm.texts) :].argmax(1))
    return found


def fine_tuned(planned: Sequence[tuple[Arm, Evaluated]], classes: Sequence[str], setting: Setting,
               resources: Resources) -> list[np.ndarray]:  # fmt: skip
    """Return the predictions of fine-tuned models for the evaluation rows, the only held-out fold of their cell."""
    cells = []
    for arm, on in planned:
        everything, labels = [*arm.texts, *on.texts], np.concatenate([arm.labels, on.labels])
        rows = Rows(("text",), [everything], labels, list(classes), np.zeros(len(labels), np.int64), ["train"],
                    [str(i) for i in range(len(labels))])  # fmt: skip
        fold = np.repeat([cross_fitting.NEVER_HELD_OUT, 0], [len(arm.texts), len(on.texts)])
        cells.append(Cell(f"{arm.name}-{arm.seed}", rows, fold, seeds=[arm.seed]))
    recorded = cross_fitting.run(cells, setting, resources)
    return [recorded[cell.name].held_out[-1][0, cell.folds == 0].argmax(1) for cell in cells]


def write(folder: Path, results: list[dict], command: str) -> str:
    """Write ``results.csv``, ``results.md`` and ``summary.json``, and return the table."""
    make_folder(folder)
    formats.write_csv(folder / "results.csv", {
        key: ["" if row[key] is None else row[key] for row in results] for key in results[0]
    })  # fmt: skip
    means = planting.means(results, ("arm", "on"), ["failure_rate"])
    relevant = next((row["relevant"] for row in results if row["relevant"] is not None), None)
    write_json(folder / "summary.json", {"command": command, "relevant": relevant, "means": means}, indent=1)
    parts = list(dict.fromkeys(row["on"] for row in means))
    by_arm = {name: {row["on"]: row for row in means if row["arm"] == name} for name in ARMS}
    added = {row["arm"]: row["added"] for row in results}
    lines = [f"    {command}", "", "Failure rate, mean and standard deviation over seeds.", ""]
    lines += table(("arm", "rows added", *parts), [
        (f"{name}: {what}", f"{added[name]}",
         *(f"{100 * found[part]['failure_rate']:.1f} % ± {100 * found[part]['failure_rate_sd']:.1f}" for part in parts))
        for (name, what), found in zip(ARMS.items(), by_arm.values(), strict=True)
    ])  # fmt: skip
    if relevant is not None:
        lines += ["", f"Of the selected rows {100 * relevant:.0f} % have the label of their specification."]
    content = "\n".join(lines) + "\n"
    write_text(folder / "results.md", content)
    return content
