"""Write a diagnosis: a table of the rows, arrays, and a summary as JSON and as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins.files import make_folder, write_json, write_text

from . import confident, diagnosis, duplicates, formats
from .diagnosis import Diagnosis
from .inspection_report import table

MAP_COLUMNS = ("confidence", "variability", "correctness", "forgetfulness", "threshold_closeness", "aum")


def columns(
    d: Diagnosis, texts: Sequence[Sequence[str]], index: Sequence[str],
    data_map: Mapping[str, np.ndarray] | None = None, split: str = "train",
) -> dict[str, Sequence]:  # fmt: skip
    """Return the columns of ``diagnosis.csv``, which start with those of kawine/dataset_difficulty.

    Args:
        d: the diagnosis of n rows.
        texts: one or two columns of n texts.
        index: n names of the rows.
        data_map: returned by :func:`.diagnosis.training_map`.
        split: name of the split of the rows.
    """
    names = d.classes
    written = (lambda ids: [names[i] for i in ids.tolist()]) if names else (lambda values: values.tolist())
    predicted, nothing = d.predicted, [""] * len(d.labels)
    correct = nothing
    if d.correct is not None:
        correct = (d.correct.mean(0) > 0.5 if predicted is None else predicted == d.labels).tolist()
    first = duplicates.first_of_group(d.groups)
    found: dict[str, Any] = {"idx": index} | {f"sentence{i}": column for i, column in enumerate(texts, start=1)}
    found |= {
        "label": written(d.labels), "H_yb": d.h_yb, "H_yx": d.h_yx.mean(0), "correct_yx": correct,
        "predicted_label": nothing if predicted is None else written(predicted), "PVI": d.pvi.mean(0),
        "PVI_calibrated": d.pvi_calibrated.mean(0),
        "PVI_sd": d.pvi_calibrated.std(0),
    }  # fmt: skip
    found |= {name: data_map[name] if data_map else nothing for name in MAP_COLUMNS}
    flags = d.flags.get("prune_by_noise_rate")
    found |= {
        "is_label_issue": nothing if flags is None else flags.tolist(),
        "label_quality": nothing if d.quality is None else d.quality,
        "rank_score": d.rank_score,
        "suggested_label": nothing if d.log_probabilities is None else written(suggested(d)),
        "fold": (d.folds + 1).tolist(),
        "duplicate_of": [index[f] if f != i else "" for i, f in enumerate(first.tolist())],
        "split": [split] * len(d.labels),
    }
    return found


def suggested(d: Diagnosis) -> np.ndarray:
    """Return the most probable class other than the given one, (n,)."""
    assert d.log_probabilities is not None  # a classification
    others = d.log_probabilities.copy()
    others[np.arange(len(others)), d.labels] = -np.inf
    return others.argmax(1)


def summarized(d: Diagnosis, slices: Mapping[str, Mapping[str, np.ndarray]] | None = None, resamples: int = 1000,
               **more: Any) -> dict:  # fmt: skip
    """Return the content of ``summary.json``.

    Args:
        d: the diagnosis.
        slices: {what: {value: (n,) bool}}.
        resamples: number of resamples of intervals.
        more: further entries, such as ``inputs`` and ``epochs``.
    """
    found = {
        "classes": d.classes, "seeds": len(d.pvi), "folds": len(np.unique(d.folds)),
        "duplicate_groups": int(len(np.unique(d.groups))), **diagnosis.measured(d, resamples=resamples),
        "temperatures": d.temperatures.tolist(), "stability": diagnosis.stability(d), "warnings": d.warnings,
    }  # fmt: skip
    by = {name: d.labels == k for k, name in enumerate(d.classes)}
    groups = ({"class": by} if d.classes else {}) | dict(slices or {})
    found["slices"] = {
        what: {v: diagnosis.measured(d, rows, max(100, resamples // 4)) for v, rows in values.items() if rows.any()}
        for what, values in groups.items()
    }
    if d.log_probabilities is not None and d.joint is not None:
        probabilities = np.exp(d.log_probabilities)
        found["confident_learning"] = {
            "thresholds": confident.thresholds(probabilities, d.labels).tolist(), "joint": d.joint.tolist(),
            "disagreement_share": confident.noise_share(probabilities, d.labels),
            "flagged": {name: int(flags.sum()) for name, flags in d.flags.items()},
        }  # fmt: skip
    return found | more


def write(folder: str | Path, d: Diagnosis, table_columns: Mapping[str, Sequence], summary: Mapping,
          null_log2: np.ndarray | None = None) -> None:  # fmt: skip
    """Write ``diagnosis.csv``, ``probabilities.npz``, ``summary.json`` and ``summary.md``.

    Args:
        folder: the folder to write to.
        d: the diagnosis.
        table_columns: returned by :func:`columns`.
        summary: returned by :func:`summarized`.
        null_log2: (n, K) log2 probabilities without the input, or None.
    """
    folder = Path(folder)
    make_folder(folder)
    formats.write_csv(folder / "diagnosis.csv", dict(table_columns))
    if d.log_probabilities is not None and d.logits is not None:
        values = np.exp(d.logits - d.logits.max(-1, keepdims=True))
        arrays = {"probs": (values / values.sum(-1, keepdims=True)).astype(np.float32), "logits": d.logits.astype("f4"),
                  "labels": d.labels, "classes": np.array(d.classes), "folds": d.folds, "groups": d.groups,
                  "index": np.array(list(table_columns["idx"]))}  # fmt: skip
        if null_log2 is not None:
            arrays["null_log2"] = null_log2
        formats.write_npz(folder / "probabilities.npz", arrays)
    write_json(folder / "summary.json", summary, indent=1)
    write_text(folder / "summary.md", markdown(summary))


# Markdown

HEAD = ("", "rows", "V (bits)", "95 %", "V calibrated", "95 %", "H(Y)", "V calibrated / H(Y)", "accuracy")


def markdown(s: Mapping) -> str:
    """Return ``summary.md``."""
    lines = ["# Diagnosis", "", sentence(s), ""]
    lines += [f"Warning: {line}.\n" for line in s["warnings"]]
    lines += table(HEAD, [cells("all rows", s)])
    if s.get("calibration"):
        lines += ["", f"Calibration: {s['calibration']}, fitted on the other folds."]
    if s.get("stability"):
        st = s["stability"]
        rest = "" if st["correlation"] is None else f"; PVI correlates {st['correlation']:.2f} between seeds"
        lines += ["", f"Of the hardest {100 * st['hardest_share']:g} % of the rows by one seed, another seed shares "
                  f"{100 * st['shared']:.0f} %{rest}."]  # fmt: skip
    for what, values in s["slices"].items():
        lines += ["", f"## By {what}", "", *table(HEAD, [cells(value, m) for value, m in values.items()])]
    if s.get("inputs"):
        lines += ["", "## By input", "", "Information that a model learns from only this part of the input.", ""]
        lines += table(HEAD, [cells(name, m) for name, m in s["inputs"].items()])
    if s.get("epochs"):
        lines += ["", "## By epoch", ""]
        lines += table(("epoch", "V", "V calibrated", "temperature", "accuracy"), [
            (e["epoch"], f"{e['V']:.3f}", f"{e['V_calibrated']:.3f}", f"{e['temperature']:.2f}", f"{e['accuracy']:.3f}")
            for e in s["epochs"]
        ])  # fmt: skip
    if s.get("sizes"):
        pairs = zip(s["sizes"]["rows"], s["sizes"]["V_calibrated_by_seed"], strict=True)
        lines += ["", "## By training rows", "", *table(("rows", "V calibrated", "by seed"), [
            (f"{n:,.0f}", f"{sum(own) / len(own):.3f}", " ".join(f"{v:.3f}" for v in own)) for n, own in pairs
        ]), "", limit_sentence(s["sizes"]["fit"])]  # fmt: skip
    if s.get("confident_learning"):
        c = s["confident_learning"]
        lines += ["", "## Model and label disagree", "",
                  f"Confident learning puts {100 * c['disagreement_share']:.1f} % of the labels into another class. "
                  "That is an upper estimate of wrong labels: a model's mistakes count too.", ""]  # fmt: skip
        rows = [(name, *row) for name, row in zip(s["classes"], c["joint"], strict=True)]
        lines += table(("given label", *s["classes"]), rows)
        lines += [""] + table(("filter", "rows"), c["flagged"].items())
    return "\n".join(lines) + "\n"


def limit_sentence(fit: Mapping | None) -> str:
    """Describe a learning curve fitted by :func:`.curves.fit` in one sentence."""
    if fit and not fit["rows_for_95"] and fit["limit"] > 0 > fit["b"]:
        return "V still rises at the largest size; 95 % of a limit is beyond 100 times that size."
    if not fit or not fit["rows_for_95"]:
        return "The sizes do not rise towards a limit above 0, or are fewer than four."
    return f"Fitted limit {fit['limit']:.3f} bits; 95 % of it at {fit['rows_for_95']:,.0f} training rows."


def sentence(s: Mapping) -> str:
    """Return the main result in one sentence."""
    low, high = s["V_calibrated_interval"]
    share = s.get("share_of_label_information")
    rest = "" if share is None else f", {100 * share:.0f} % of the label information"
    return (f"V-usable information: {s['V_calibrated']:.3f} bits calibrated (95 %: {low:.3f} to {high:.3f}){rest}; "
            f"{s['V']:.3f} raw; {s['rows']:,} rows, {s['folds']} folds, {s['seeds']} seeds.")  # fmt: skip


def cells(name: str, m: Mapping) -> tuple:
    """Return a row of the tables."""
    share, right = m.get("share_of_label_information"), m.get("accuracy")
    return (name, f"{m['rows']:,}", f"{m['V']:.3f}", "{:.3f} to {:.3f}".format(*m["V_interval"]),
            f"{m['V_calibrated']:.3f}", "{:.3f} to {:.3f}".format(*m["V_calibrated_interval"]), f"{m['H_yb']:.3f}",
            "" if share is None else f"{share:.2f}", "" if right is None else f"{right:.3f}")  # fmt: skip
