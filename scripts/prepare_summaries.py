#!/usr/bin/env python3
"""Create a folder of documents with summaries from installed packages: bodies and first lines of docstrings.

    python scripts/prepare_summaries.py -o data/docstrings

It writes train.jsonl, valid.jsonl and test.jsonl, split by module, and pretrain.txt, English prose to pretrain a
language model on, without the modules of validation and test.
"""

import argparse

import command
import flags

LARGEST = 1_000_000  # megabytes, a terabyte


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything slow is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    flags.add_output(parser, "DIR", "folder to create")
    parser.add_argument(
        "--megabytes", type=flags.rate, default=12.0, help="size of pretrain.txt (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.output.exists():
        parser.error(f"{args.output} exists: remove it, or name another folder")
    if args.megabytes > LARGEST:
        parser.error(f"--megabytes {args.megabytes:g}: at most {LARGEST:,}")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_outputs(folders=[args.output])
    from plugins.data.summaries import docstrings
    from plugins.errors import report_in_one_line

    report_in_one_line()
    counts, size = docstrings.make_folder(args.output, int(args.megabytes * 1e6))
    numbers = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    print(f"{args.output}: {numbers}; pretrain.txt with {size:,} characters")


if __name__ == "__main__":
    command.run(main, "\ninterrupted: nothing was written")
