"""Count planted label errors in the first rows of several orders computed from the same probabilities."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import log_softmax
from tqdm import tqdm

from plugins.diagnostics import confident, diagnosis, diagnosis_figures, duplicates, folds, formats, planting, review
from plugins.diagnostics.datasets import Rows
from plugins.diagnostics.inspection_report import table
from plugins.diagnostics.planted import Planted, Planting
from plugins.files import make_folder, write_json, write_text
from plugins.jobs import Resources

from . import cross_fitting, frozen, stacked
from .cross_fitting import Cell, Setting

CLEANLAB = ("self_confidence", "normalized_margin", "confidence_weighted_entropy", "normalized_margin adjusted",
            "self_confidence adjusted")  # fmt: skip
DEFAULT_ORDER = "normalized_margin"
LOOP, ERRING = "review loop", "review loop, reviewer errs 10 %"
AT = (100, 200)


def plantings(rows: Rows, kinds: Sequence[str], rates: Sequence[float], count: int, first: int = 1) -> list[Planting]:
    """Plant label errors of each kind and rate in the training rows, with ``count`` seeds from ``first``."""
    texts = [" ".join(row) for row in zip(*rows.texts, strict=True)]
    classes = len(rows.classes)
    weak = planting.weak_probabilities(texts, rows.labels, classes) if "annotator" in kinds else None
    return [
        Planting(kind, rate, number, planting.plant(rows.labels, classes, kind, rate, number, weak))
        for kind in kinds for rate in rates for number in range(first, first + count)
    ]  # fmt: skip


def train(
    rows: Rows, planted: Sequence[Planting], count: int, setting: Setting | None, resources: Resources,
    fixed: bool = False, together: bool = False,
) -> Planted:  # fmt: skip
    """Return out-of-fold logits of models trained on each planting.

    Args:
        rows: rows with their correct labels.
        planted: labels with errors of the rows.
        count: number of folds.
        setting: settings of the fine-tuning; None: train linear models on TF-IDF vectors.
        resources: resources of the fine-tuning.
        fixed: train heads on frozen features of the checkpoint (see :mod:`.frozen`) instead of fine-tuning it.
        together: fine-tune all models in one process (see :mod:`.stacked`).
    """
    groups = duplicates.find(duplicates.joined(rows.texts)).groups
    row_folds = folds.stratified(rows.labels, count, groups, 1)
    if setting is not None:
        cells = [Cell(one.name, replace(rows, labels=one.given), row_folds) for one in planted]
        if fixed or together:
            recorded = (frozen if fixed else stacked).run(cells, setting)
        else:
            recorded = cross_fitting.run(cells, setting, resources)
        logits = [recorded[cell.name].held_out[-1] for cell in cells]
    else:
        texts = [" ".join(row) for row in zip(*rows.texts, strict=True)]
        classes = len(rows.classes)
        found = [planting.linear_probabilities(texts, one.given, classes, row_folds) for one in planted]
        logits = [np.log(p)[None] for p in found]
    return Planted(rows.labels, list(rows.classes), row_folds, planted, logits)


def orders(found: Planted, number: int) -> dict:
    """Return {order: (n,) bool, errors in that order}, and {order: score (n,)} for the static orders."""
    one, logits, right = found.plantings[number], found.logits[number], found.labels
    wrong = one.given != right
    d = diagnosis.diagnose(logits, one.given, found.classes, found.folds)
    raw = log_softmax(log_softmax(np.asarray(logits, np.float64), axis=-1).mean(0), axis=-1)
    assert d.log_probabilities is not None and d.rank_score is not None  # a classification
    p = np.exp(raw)
    p /= p.sum(1, keepdims=True)
    scores = {name: confident.scores(p, one.given, name.split()[0], adjust="adjusted" in name) for name in CLEANLAB}
    scores |= {"PVI": d.pvi_calibrated.mean(0), "ranks": d.rank_score,
               "random": np.random.default_rng(one.number).random(len(right))}  # fmt: skip
    hits = {name: wrong[np.argsort(score, kind="stable")] for name, score in scores.items()}
    x = review.features(d.log_probabilities, one.given)
    start = scores[DEFAULT_ORDER]  # of scripts/find_label_errors.py
    for name, rate in ((LOOP, 0.0), (ERRING, 0.1)):
        judged = planting.judge_with_errors(wrong, rate, one.number)
        shown, _ = review.simulate(x, start, judged.__getitem__, max(AT), review.prior(len(found.classes)))
        hits[name] = wrong[shown]
    return {"found": hits, "scores": scores, "wrong": wrong}


def measure(planted: Planted) -> list[dict]:
    """Return a row of results for each planting and order."""
    results = []
    for number, one in enumerate(tqdm(planted.plantings, desc="orders", disable=None)):
        found = orders(planted, number)
        right = float((planted.logits[number].argmax(-1) == planted.labels).mean())
        for name, hits in found["found"].items():
            score = found["scores"].get(name)
            results.append({
                "kind": one.kind, "rate": one.rate, "planting": one.number, "errors": int(found["wrong"].sum()),
                "accuracy": right, "order": name, **{f"found_{n}": int(hits[:n].sum()) for n in AT},
                **{f"precision_{n}": planting.precision_at(hits, n) for n in AT},
                "average_precision": float("nan") if score is None else
                planting.average_precision(score, found["wrong"]),
                "curve": np.cumsum(hits[: max(AT)]).tolist(),
            })  # fmt: skip
    return results


def write(folder: Path, results: list[dict], command: str) -> dict:
    """Write ``results.csv``, ``results.md``, ``summary.json`` and ``precision.png``, and return the summary."""
    make_folder(folder)
    plain = [{k: v for k, v in row.items() if k != "curve"} for row in results]
    formats.write_csv(folder / "results.csv", {k: [row[k] for row in plain] for k in plain[0]})
    numbers = [*(f"precision_{n}" for n in AT), "average_precision"]
    by_order = planting.means(plain, ("order",), numbers)
    by_kind = planting.means(plain, ("kind", "rate", "order"), numbers)
    kinds: dict[tuple[str, float], dict[str, float]] = {}
    for row in by_kind:
        kinds.setdefault((row["kind"], row["rate"]), {})[row["order"]] = row["precision_200"]
    best = {key: max(values[name] for name in CLEANLAB) for key, values in kinds.items()}
    ratios = {name: float(np.mean([values[name] / best[key] for key, values in kinds.items() if best[key] > 0]))
              for name in (LOOP, ERRING, "ranks", "PVI")}  # fmt: skip
    totals = {row["order"]: row["precision_200"] for row in by_order}
    best_one = max(CLEANLAB, key=totals.__getitem__)
    summary = {
        "command": command, "orders": by_order, "kinds": by_kind, "cleanlab_best": best_one,
        "ratio_to_cleanlab_best_order": {n: totals[n] / totals[best_one] for n in (LOOP, ERRING, "ranks", "PVI")},
        "ratio_to_cleanlab_best_of_each_kind": ratios,
    }  # fmt: skip
    write_json(folder / "summary.json", summary, indent=1)
    write_text(folder / "results.md", markdown(summary))
    curves = {row["order"]: np.mean([r["curve"] for r in results if r["order"] == row["order"]], axis=0)
              for row in by_order if row["order"] in (LOOP, ERRING, "ranks", best_one, "random")}  # fmt: skip
    errors = round(np.mean([row["errors"] for row in results]))
    diagnosis_figures.precision(folder / "precision.png", curves, errors, "Which order finds planted errors first?")
    return summary


def markdown(summary: dict) -> str:
    """Return ``results.md``."""
    lines = [f"    {summary['command']}", "", "Mean over kinds and plantings, and its standard deviation.", ""]
    lines += table(("order", *(f"errors in {n}" for n in AT), "average precision"), [
        (r["order"], *(f"{100 * r[f'precision_{n}']:.1f} % ± {100 * r[f'precision_{n}_sd']:.1f}" for n in AT),
         "" if np.isnan(r["average_precision"]) else f"{r['average_precision']:.3f}")
        for r in sorted(summary["orders"], key=lambda r: -r["precision_200"])
    ])  # fmt: skip
    kinds: dict = {}
    for row in summary["kinds"]:
        kinds.setdefault(f"{row['kind']} {100 * row['rate']:g} %", {})[row["order"]] = row["precision_200"]
    names = list(next(iter(kinds.values())))
    lines += ["", "Share of errors among the first 200 rows, by kind.", ""]
    lines += table(("kind", *names), [(kind, *(f"{v[name]:.3f}" for name in names)) for kind, v in kinds.items()])
    ratio = summary["ratio_to_cleanlab_best_order"]
    lines += ["", f"Errors found in 200 rows, relative to cleanlab's best score ({summary['cleanlab_best']}): "
              + ", ".join(f"{name} {value:.2f}" for name, value in ratio.items()) + "."]  # fmt: skip
    return "\n".join(lines) + "\n"
