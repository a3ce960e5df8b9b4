"""Write an inspection: tables, and a summary as JSON and as Markdown."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from plugins import tables
from plugins.files import make_folder, write_json, write_text

from . import divergence, lexical
from .datasets import UNLABELED, Rows

WORD_COLUMNS = ("word", "label", "count", "p", "z", "q", "pmi", "lmi", "log_odds")
LISTED = 10_000  # maximum rows of a table of pairs or words


def write(found: dict, folder: str | Path) -> dict:
    """Write ``summary.json``, ``summary.md`` and the tables into a folder, and return the summary.

    Raises:
        UserError: a file cannot be written.
    """
    folder = Path(folder)
    make_folder(folder)
    own = ("split", "index", "label", *found["rows"].columns)
    ends = [f"{name}_{side}" for side in "ab" for name in own]
    write_text(folder / "words.csv", as_csv(word_rows(found), WORD_COLUMNS))
    write_text(folder / "duplicates.csv", as_csv(duplicate_rows(found), ("group", "kind", *own)))
    write_text(folder / "conflicts.csv", as_csv(conflict_rows(found), ("similarity", *ends)))
    write_text(folder / "divergence.csv", as_csv(divergence := divergence_rows(found), list(divergence[0])))
    write_text(folder / "probe.csv", as_csv(probe := probe_rows(found["probe"]), list(probe[0])))
    summary = summarized(found)
    write_json(folder / "summary.json", summary, indent=1)
    write_text(folder / "summary.md", markdown(summary))
    return summary


def as_csv(rows: Iterable[dict], columns: Sequence[str]) -> str:
    """Format rows as CSV with a header, also if there are no rows; floats have six significant digits."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return out.getvalue()


def word_rows(found: dict, q: float = 1.0) -> list[dict]:
    """Return words and labels in order of decreasing significance; at equal q, in order of decreasing \\|z\\|."""
    a, vocabulary = found["associations"], found["words"].vocabulary
    words, classes = np.nonzero((a.q <= q) & (a.z > 0))
    order = np.lexsort((-a.z[words, classes], a.q[words, classes]))[:LISTED]
    return [
        {"word": vocabulary[w], "label": found["classes"][c], "count": int(a.count[w]), "p": float(a.p[w, c]),
         "z": float(a.z[w, c]), "q": float(a.q[w, c]), "pmi": float(a.pmi[w, c]), "lmi": float(a.lmi[w, c]),
         "log_odds": float(a.log_odds[w, c])}
        for w, c in zip(words[order].tolist(), classes[order].tolist(), strict=True)
    ]  # fmt: skip


def duplicate_rows(found: dict) -> Iterable[dict]:
    """Yield the rows of each group of at least two duplicates."""
    rows, groups, exact = found["rows"], found["duplicates"].groups, found["duplicates"].exact
    members = defaultdict(list)
    counts = np.bincount(groups)
    for i in np.flatnonzero(counts[groups] > 1).tolist():
        members[int(groups[i])].append(i)
    for number, own in enumerate(list(members.values())[:LISTED], start=1):
        same = len({int(exact[i]) for i in own}) == 1
        for i in own:
            yield {"group": number, "kind": "exact" if same else "near", **_row(rows, i)}


def conflict_rows(found: dict) -> Iterable[dict]:
    """Yield pairs of rows that are near or exact duplicates with different labels."""
    rows, dup = found["rows"], found["duplicates"]
    labeled = np.flatnonzero(rows.labels != UNLABELED)
    first: dict[int, dict[int, int]] = defaultdict(dict)  # exact text: {label: row}
    for i in labeled.tolist():
        first[int(dup.exact[i])].setdefault(int(rows.labels[i]), i)
    pairs = [(a, b, 1.0) for own in first.values() for a, b in zip(own.values(), list(own.values())[1:], strict=False)]
    for (a, b), value in zip(dup.pairs.tolist(), dup.similarity.tolist(), strict=True):
        for label, i in first.get(int(dup.exact[a]), {}).items():
            pairs += [(i, j, value) for other, j in first.get(int(dup.exact[b]), {}).items() if other != label]
    for a, b, value in sorted(pairs, key=lambda pair: -pair[2])[:LISTED]:
        ends = {f"{name}_{side}": value for side, i in (("a", a), ("b", b)) for name, value in _row(rows, i).items()}
        yield {"similarity": value, **ends}


def _row(rows: Rows, i: int) -> dict:
    label = rows.labels[i]
    written = "" if label == UNLABELED else rows.classes[label]
    texts = {name: column[i] for name, column in zip(rows.columns, rows.texts, strict=True)}
    return {"split": rows.split_names[rows.splits[i]], "index": rows.index[i], "label": written, **texts}


def divergence_rows(found: dict) -> list[dict]:
    """Return the divergence of each pair of classes, its floor, and the words that carry it."""
    d, names = found["divergence"], found["classes"]
    result = []
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            parts = divergence.contributions(d.words[a], d.words[b])
            order = np.argsort(-np.abs(parts))[:12]
            words = {side: [found["vocabulary"][i] for i in order if sign * parts[i] > 0]
                     for side, sign in (("words_a", 1), ("words_b", -1))}  # fmt: skip
            row = {"class_a": names[a], "class_b": names[b], "jsd": d.raw[a, b], "floor": d.floor[a, b],
                   "floor_95": d.floor_high[a, b], "jsd_equal": d.equal[a, b], "floor_equal": d.equal_floor[a, b],
                   "above_floor": d.above_floor[a, b]}  # fmt: skip
            row = {k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()}
            if "gothate" in found:
                row["gothate_nats"] = float(found["gothate"][a, b])
            result.append(row | {side: " ".join(some) for side, some in words.items()})
    return result


def probe_rows(probe: lexical.Probe) -> list[dict]:
    """Return the probe's results for each number of words."""
    columns = zip(probe.sizes.tolist(), probe.bits.tolist(), probe.accuracy.tolist(), probe.random_bits.tolist(),
                  probe.random_accuracy.tolist(), strict=True)  # fmt: skip
    whole = probe.all_bits if probe.all_bits > 0 else float("nan")
    return [{"words": m, "bits": bits, "share_of_all": bits / whole, "accuracy": right, "random_bits": random,
             "random_accuracy": random_right} for m, bits, right, random, random_right in columns]  # fmt: skip


def summarized(found: dict) -> dict:
    """Return the content of ``summary.json``."""
    probe = found["probe"]
    significant = (found["associations"].q < 0.05) & (found["associations"].z > 0)
    return {
        "columns": list(found["rows"].columns), "splits": found["sizes"], "lengths": found["lengths"],
        "duplicates": found["overlap"], "divergence": divergence_rows(found),
        "words": {"judged": int((found["associations"].count >= lexical.MIN_COUNT).sum()),
                  "significant_pairs": int(significant.sum()), "top": word_rows(found, 0.05)[:20]},
        "probe": {"rows": probe.rows, "majority_accuracy": probe.prior, "all_words_bits": probe.all_bits,
                  "all_words_accuracy": probe.all_accuracy, "by_words": probe_rows(probe)},
    }  # fmt: skip


def markdown(summary: dict) -> str:
    """Return the content of ``summary.md``."""
    lines = ["# Inspection", "", "## Sizes", ""]
    names = list(summary["splits"][0]["classes"])
    lines += table(("split", "rows", *names, "label entropy (bits)"), [
        (s["split"], f"{s['rows']:,}", *(f"{s['classes'][n]:,}" for n in names),
         "" if s["entropy_bits"] is None else f"{s['entropy_bits']:.3f}") for s in summary["splits"]
    ])  # fmt: skip
    lines += ["", "## Lengths (words)", ""]
    lines += table(("column", "split", "class", "least", "25 %", "median", "75 %", "95 %", "most"), [
        (r["column"], r["split"], r["class"] or "all", *(f"{q:g}" for q in r["quantiles"])) for r in summary["lengths"]
    ])  # fmt: skip
    d = summary["duplicates"]
    lines += ["", "## Duplicates", "", "Near includes exact.", ""]
    lines += table(("where", "kind", "rows", "duplicates"), [
        *((r["split"], r["kind"], f"{r['rows']:,}", f"{r['repeated']:,}") for r in d["within"]),
        *((f"{r['to']} in {r['from']}", r["kind"], f"{r['rows']:,}", f"{r['leaked']:,}") for r in d["across"]),
    ])  # fmt: skip
    lines += ["", f"Groups with conflicting labels: {d['exact_conflicts']:,} exact, {d['near_conflicts']:,} near."]
    lines += ["", "## Divergence of classes (Jensen-Shannon, bits)", "",
              "Floor: the same with shuffled labels. Compare the last column.", ""]  # fmt: skip
    lines += table(("classes", "JSD", "floor (95 %)", "JSD at equal size", "its floor", "above floor"), [
        (f"{r['class_a']} - {r['class_b']}", f"{r['jsd']:.4f}", f"{r['floor']:.4f} ({r['floor_95']:.4f})",
         f"{r['jsd_equal']:.4f}", f"{r['floor_equal']:.4f}", f"{r['above_floor']:.4f}") for r in summary["divergence"]
    ])  # fmt: skip
    w = summary["words"]
    lines += ["", "## Words that give labels away", "", words_sentence(w)]
    lines += [] if not w["top"] else ["", *table(("word", "label", "texts", "p(label given word)", "z", "q"), [
        (f"`{r['word']}`", r["label"], f"{r['count']:,}", f"{r['p']:.2f}", f"{r['z']:.1f}", f"{r['q']:.2g}")
        for r in w["top"]
    ])]  # fmt: skip
    p = summary["probe"]
    lines += ["", "## Linear probe", "", probe_sentence(p), ""]
    lines += table(("words", "bits", "share", "accuracy", "bits of random words", "accuracy of random words"), [
        (r["words"], f"{r['bits']:.3f}", f"{100 * r['share_of_all']:.0f} %", f"{r['accuracy']:.3f}",
         f"{r['random_bits']:.3f}", f"{r['random_accuracy']:.3f}") for r in p["by_words"]
    ])  # fmt: skip
    return "\n".join(lines) + "\n"


def duplicate_sentences(duplicates: dict) -> list[str]:
    """Return a sentence for each split with rows of an earlier one, and one for texts with several labels."""
    lines = [
        f"{row['leaked']:,} of {row['rows']:,} rows of {row['to']} are also in {row['from']}, exactly or nearly."
        for row in duplicates["across"]
        if row["kind"] == "near" and row["leaked"]
    ]
    conflicts = duplicates["near_conflicts"]
    return lines + ([f"Groups of equal or similar texts with different labels: {conflicts:,}."] if conflicts else [])


def words_sentence(words: dict) -> str:
    """Describe the association of words and labels in one sentence."""
    least = f"at least {lexical.MIN_COUNT} texts"
    if not words["judged"]:
        return f"No word occurs in {least}; rarer words are not judged, because chance associates them with labels."
    return (f"{words['significant_pairs']:,} pairs of word and label have a false discovery rate below 5 %, among "
            f"{words['judged']:,} words in {least}.")  # fmt: skip


def probe_sentence(probe: dict) -> str:
    """Describe the results of the probe in one sentence."""
    scores = f"accuracy {probe['all_words_accuracy']:.3f}, majority {probe['majority_accuracy']:.3f}"
    every = f"A linear model on all words learns {probe['all_words_bits']:.3f} bits per row ({scores})"
    rows = probe["by_words"]
    if probe["all_words_bits"] < 0.005 or not rows:
        return f"{every}: almost none."
    row = min(rows, key=lambda r: abs(r["words"] - 40))
    return f"{every}. {row['words']} words give {100 * row['share_of_all']:.0f} % of that."


def table(head: Iterable, rows: Iterable[Iterable]) -> list[str]:
    """Return the lines of a Markdown table."""
    return tables.markdown(head, rows).splitlines()
