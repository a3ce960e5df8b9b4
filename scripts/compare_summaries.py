#!/usr/bin/env python3
"""Compare files of scripts/summarize.py: a table and a figure of their ROUGE.

    python scripts/compare_summaries.py lead=lead.jsonl LoRA=lora.jsonl prompt=prompt.jsonl -o results/methods
    python scripts/compare_summaries.py 0.1=cold.jsonl 0.7=warm.jsonl 1.5=hot.jsonl --axis temperature -o results/heat

All files must have the same documents. The table has the mean of each score with its 95 % interval (bootstrap over
documents), and the difference from the first file (paired bootstrap). With --axis the names are numbers, and the
figure has curves against them. DIR gets results.md, results.json and rouge.png.
"""

import argparse
import math
from pathlib import Path

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("files", nargs="+", metavar="NAME=FILE", help="name of a system, and its file")
    flags.add_output(parser, "DIR", "folder for the results")
    parser.add_argument("--axis", metavar="NAME", help="quantity that the names are values of, for example temperature")
    args = parser.parse_args(argv)
    pairs = [text.partition("=") for text in args.files]
    args.files = {name: Path(path) for name, _, path in pairs}
    if not all(name and path for name, _, path in pairs):
        parser.error("give each file as NAME=FILE")
    if len(args.files) < len(pairs):
        parser.error("two files have the same name")
    if args.axis and not all(is_number(name) for name in args.files):
        parser.error(f"with --axis {args.axis} the names are numbers, for example 0.1=FILE")
    if args.axis and len({float(name) for name in args.files}) < len(pairs):
        parser.error("two names are the same number")
    return args


def is_number(text: str) -> bool:
    """Return whether a name is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(args.files.values())
    command.check_outputs(folders=[args.output])
    from plugins.analysis.metrics import rouge_comparison
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, staging, write_json, write_text

    report_in_one_line()
    written = [args.output / name for name in ("results.md", "results.json", "rouge.png")]
    check_not_read(written, args.files.values())
    scores = {name: rouge_comparison.read_scores(path) for name, path in args.files.items()}
    results = rouge_comparison.compare(scores, args.files)
    table = rouge_comparison.markdown(results)
    with staging(args.output) as folder:
        write_text(folder / "results.md", table)
        write_json(folder / "results.json", results, indent=1)
        rouge_comparison.draw(results, args.axis, folder / "rouge.png")
    print(table, end="")


if __name__ == "__main__":
    command.run(main)
