"""Write the results of a comparison of two data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.files import make_folder, write_json, write_text

from .datasets import Rows
from .inspection_report import as_csv, table

CONFLICT_COLUMNS = ("index_a", "label_a", "index_b", "label_b", "similarity", "text_a", "text_b")
DISAGREEMENT_COLUMNS = ("data", "index", "label", "model_of_a", "model_of_b", "text")


def write(folder: str | Path, rows: Sequence[Rows], labels: Sequence[np.ndarray], classes: Sequence[str],
          conflicts: Sequence[tuple], found: Mapping) -> str:  # fmt: skip
    """Write ``conflicts.csv``, ``disagreements.csv``, ``summary.json`` and ``summary.md``; return the Markdown.

    Args:
        folder: the folder to write to.
        rows, labels, classes: the data sets, their common class ids, and the names of the classes.
        conflicts: returned by :func:`.comparison.conflicts`.
        found: returned by :func:`.comparison.compare`.
    """
    folder = Path(folder)
    make_folder(folder)
    first, second = rows

    def text(part: Rows, i: int) -> str:
        return " | ".join(column[i] for column in part.texts)

    write_text(folder / "conflicts.csv", as_csv((
        {"index_a": first.index[a], "label_a": classes[labels[0][a]], "index_b": second.index[b],
         "label_b": classes[labels[1][b]], "similarity": value, "text_a": text(first, a), "text_b": text(second, b)}
        for a, b, value in conflicts
    ), CONFLICT_COLUMNS))  # fmt: skip
    size = len(first)

    def entry(row: int, of_a: int, of_b: int) -> dict:
        k, i = (0, row) if row < size else (1, row - size)
        return {"data": "AB"[k], "index": rows[k].index[i], "label": classes[labels[k][i]],
                "model_of_a": classes[of_a], "model_of_b": classes[of_b], "text": text(rows[k], i)}  # fmt: skip

    write_text(folder / "disagreements.csv", as_csv((entry(*one) for one in found["disagree"]), DISAGREEMENT_COLUMNS))
    summary = {
        "rows": [len(part) for part in rows], "classes": list(classes), "conflicts": len(conflicts), "V": found["V"],
        "told_apart": found["told_apart"], "disagreements": len(found["disagree"]), "words": found["words"],
    }  # fmt: skip
    write_json(folder / "summary.json", summary, indent=1)
    apart = summary["told_apart"]
    lines = ["# Comparison", "", f"A: {len(first):,} rows, B: {len(second):,} rows.", ""]
    lines += table(("model to rows", "V (bits)", "V calibrated"), [
        (name, f"{raw:.3f}", f"{better:.3f}") for name, (raw, better) in found["V"].items()
    ])  # fmt: skip
    lines += ["", f"Equal or nearly equal texts with different labels: {len(conflicts):,} pairs.", "",
              f"Given the label, a linear model distinguishes A from B in {100 * apart['accuracy']:.1f} % of the rows "
              f"(majority {100 * apart['majority']:.1f} %).", "",
              f"Both models are sure and disagree on {len(found['disagree']):,} rows."]  # fmt: skip
    if found["words"]:
        lines += ["", "Words that mark those rows: " + ", ".join(f"`{w}` ({z:.1f})" for w, z in found["words"]) + "."]
    content = "\n".join(lines) + "\n"
    write_text(folder / "summary.md", content)
    return content
