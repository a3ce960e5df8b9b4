#!/usr/bin/env python3
"""Fetch a named public dataset from its canonical address.

    python scripts/get_data.py --list
    python scripts/get_data.py wikitext-2 -o data
    python scripts/get_data.py enwik8 --from ~/enwik8.zip -o data

Files whose SHA-256 is published are verified, and a broken download is resumed.
Archives are unpacked, and character corpora are split into their standard parts: train.txt, valid.txt and test.txt.
All other commands read local files, so files that you already have need no download.
"""

import argparse
from pathlib import Path

import choices
import command


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a dataset of --list")
    add("--list", action="store_true", help="list the datasets and their addresses")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="split this local copy and download nothing (enwik8, text8, shakespeare_char)",
    )
    add("-o", "--output", default="data", metavar="DIR", help="files go to DIR/NAME (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.name is None and not args.list:
        parser.error("name a dataset, or see --list")
    return args


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = parse_args(argv)
    command.check_inputs(paths=[args.source])
    command.check_outputs(folders=[args.output])
    command.check_names([args.name], choices.DATASETS, "dataset")
    from plugins.data.downloads import datasets, fetch
    from plugins.errors import report_in_one_line

    report_in_one_line()
    if args.list:
        print(datasets.listing())
    else:
        print(f"{args.name} is in {fetch.get(args.name, args.output, args.source)}")


if __name__ == "__main__":
    command.run(main, "interrupted: run the command again to resume")
