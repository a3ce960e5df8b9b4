#!/usr/bin/env python3
"""Make a folder with documents and summaries that every installation has: docstrings, their body and their first line.

    python scripts/prepare_summaries.py -o data/docstrings

It writes train.jsonl, valid.jsonl and test.jsonl, split by module; and pretrain.txt, English prose to train a language
model on first, in which the modules of validation and testing are left out.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--megabytes", type=float, default=12.0, help="most text for pretraining (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.output.exists():
        parser.error(f"{args.output} is there already: remove it, or name another folder")
    if not 0 < args.megabytes < float("inf"):
        parser.error(f"--megabytes {args.megabytes} is no positive number")
    return args


def main() -> None:
    """Write everything beside the folder, then rename it."""
    args = parse_args()
    from plugins.data.summaries import docstrings
    from plugins.data.text import documents as corpora
    from plugins.errors import UserError, report_in_one_line

    report_in_one_line()
    part = args.output.with_name(f".{args.output.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        counts = docstrings.write(part)
        size = 0
        with (part / "pretrain.txt").open("w", encoding="utf-8") as file:
            for document in corpora.embedded_corpus(int(args.megabytes * 1e6), docstrings.held_out_modules()):
                size += file.write(document + "\n\n")
        os.replace(part, args.output)
    except OSError as error:
        raise UserError(f"--output {args.output}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    numbers = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    print(f"{args.output}: {numbers}; pretrain.txt with {size:,} characters")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing was written")
