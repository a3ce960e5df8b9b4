#!/usr/bin/env python3
"""Set files of scripts/summarize.py side by side: a table and a drawing of their ROUGE.

    python scripts/compare_summaries.py lead=lead.jsonl LoRA=lora.jsonl prompt=prompt.jsonl -o results/methods
    python scripts/compare_summaries.py 0.1=cold.jsonl 0.7=warm.jsonl 1.5=hot.jsonl --axis temperature -o results/heat

All files must be about the same documents. The table has the mean of each score with its 95 % interval (bootstrap over
documents), and the difference from the first file (paired bootstrap). With --axis the names are numbers, and the
drawing is a curve against them. DIR gets results.md, results.json and rouge.png.
"""

import argparse
import math
import sys
from collections import Counter
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("files", nargs="+", metavar="NAME=FILE", help="what to call a file, and the file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--axis", metavar="NAME", help="what the names are numbers of, such as temperature")
    args = parser.parse_args(argv)
    pairs = [text.partition("=") for text in args.files]
    args.files = {name: Path(path) for name, _, path in pairs}
    if not all(name and path for name, _, path in pairs):
        parser.error("give each file as NAME=FILE")
    if len(args.files) < len(pairs):
        parser.error("two files have the same name")
    if args.axis and not all(is_number(name) for name in args.files):
        parser.error(f"with --axis {args.axis} the names are numbers, such as 0.1=FILE")
    if args.axis and len({float(name) for name in args.files}) < len(pairs):
        parser.error("two names are the same number")
    return args


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def main() -> None:
    """Run the command."""
    args = parse_args()
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read, write_json, write_text

    report_in_one_line()
    written = [args.output / name for name in ("results.md", "results.json", "rouge.png")]
    check_not_read(written, args.files.values())
    if args.output.exists() and not args.output.is_dir():
        raise UserError(f"--output {args.output}: is no folder; name another")
    results = compare({name: read_scores(path) for name, path in args.files.items()}, args.files)
    table = markdown(results)
    write_text(args.output / "results.md", table)
    write_json(args.output / "results.json", results, indent=1)
    draw(results, args.axis, args.output / "rouge.png")
    print(table, end="")


def read_scores(path: Path) -> dict[str, dict]:
    """Return {id: scores} of a file.

    Raises:
        UserError: it cannot be read, has no scores, or two documents with the same id.
    """
    from plugins.analysis.metrics import rouge
    from plugins.data.text.records import json_records
    from plugins.errors import UserError

    try:
        lines = [line for _, line in json_records(path)]
        scores = [(line["id"], {kind: float(line["rouge"][kind]) for kind in rouge.KINDS}) for line in lines]
        found = dict(scores)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not what scripts/summarize.py writes for documents that have summaries") from None
    if len(found) < len(scores):
        twice = Counter(name for name, _ in scores).most_common(1)[0][0]
        raise UserError(f"{path}: two documents have the id {twice!r}; summarise a file in which each has its own")
    return found


def compare(scores: dict[str, dict], paths: dict) -> dict:
    """Return {name: {"documents": N, kind: {"mean", "interval", "difference", "difference_interval"}}}.

    Raises:
        UserError: the files are not about the same documents.
    """
    from plugins.analysis.metrics import rouge
    from plugins.errors import UserError

    first = next(iter(scores))
    ids = list(scores[first])
    if not ids:
        raise UserError(f"{paths[first]}: no summaries in it")
    results = {}
    for name, found in scores.items():
        if found.keys() != scores[first].keys():
            raise UserError(f"{paths[name]}: about other documents than {paths[first]}")
        own = [found[i] for i in ids]
        less = rouge.differences(own, [scores[first][i] for i in ids])
        numbers = [rouge.mean(own), rouge.intervals(own), rouge.mean(less), rouge.intervals(less)]
        names = ("mean", "interval", "difference", "difference_interval")
        rows = {kind: dict(zip(names, (part[kind] for part in numbers), strict=True)) for kind in rouge.KINDS}
        results[name] = {"documents": len(ids), **rows}
    return results


def markdown(results: dict) -> str:
    """Return the table, in percent."""
    from plugins import tables
    from plugins.analysis.metrics import rouge

    first = next(iter(results))
    head = ["", *rouge.KINDS, f"rouge1 less {first}"]
    rows = []
    for name, row in results.items():
        cells = [shown(row[kind]["mean"], row[kind]["interval"]) for kind in rouge.KINDS]
        change = row["rouge1"]
        rows.append([name, *cells, "" if name == first else shown(change["difference"], change["difference_interval"])])
    about = f"{results[first]['documents']} documents; percent with 95 % intervals; {rouge.SETTINGS}.\n\n"
    return about + tables.markdown(head, rows) + "\n"


def shown(mean: float, interval) -> str:
    return f"{100 * mean:.1f} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def draw(results: dict, axis: str | None, path: Path) -> None:
    """Draw the means: curves against the names where these are numbers, else a row a name."""
    import numpy as np

    from plugins.analysis import plots
    from plugins.analysis.metrics import rouge

    label = f"F-measure (%), {results[next(iter(results))]['documents']} documents"
    if axis is None:
        groups = {}
        for kind in rouge.KINDS:
            entries = {name: row[kind] for name, row in results.items()}
            groups[kind] = {
                name: tuple(100 * value for value in (entry["interval"][0], entry["mean"], entry["interval"][1]))
                for name, entry in entries.items()
            }
        plots.ranges(path, groups, "ROUGE, with 95 % intervals", label)
        return
    names = sorted(results, key=float)
    curves = {}
    for kind in rouge.KINDS:
        entries = [results[name][kind] for name in names]
        half = [(entry["interval"][1] - entry["interval"][0]) / 2 for entry in entries]
        mean = [entry["mean"] for entry in entries]
        curves[kind] = (np.array(names, float), 100 * np.array(mean), 100 * np.array(half))
    plots.bands(path, curves, f"ROUGE against {axis}, with 95 % intervals", label, axis)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
