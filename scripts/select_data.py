#!/usr/bin/env python3
"""Select the rows of a pool that are most similar to the examples of a specification.

    python scripts/select_data.py --specs specs.yaml --pool pool.tsv --number 500 -o selected.csv

specs.yaml is a mapping, or a list of mappings, with the keys name, label, queries (texts, or a file with one per line)
and held_out. The columns of the CSV are specification, rank, row (in the pool), text and label (the specification's).
"""

import argparse

import command
import flags
import headers
import ranker_options


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--specs", required=True, metavar="YAML", help="file of specifications")
    add("--pool", required=True, metavar="FILE", help="CSV, TSV or JSON lines file with a text column")
    add("--text", metavar="COLUMN", help="text column of the pool (default: sentence, text, ...)")
    flags.add_selected(parser)
    ranker_options.add(parser)
    flags.add_output(parser, "CSV", "file to write")
    args = parser.parse_args(argv)
    ranker_options.check(parser, args)
    return args


def main():
    args = parse_args()
    command.check_inputs([args.specs, args.pool], checkpoints=[args.ranker_checkpoint])
    command.check_outputs([args.output])
    headers.check(args.pool, [args.text], "--text")
    from plugins.diagnostics import columns, formats, specifications
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read

    report_in_one_line()
    check_not_read([args.output], [args.specs, args.pool])
    specs = specifications.read(args.specs)
    texts = columns.read_texts(args.pool, args.text)
    chosen = specifications.select(texts, specs, args.number, ranker_options.ranker(args), args.aggregate)
    labels = {spec.name: spec.label for spec in specs}
    rows = [(name, rank, row, texts[row], labels[name]) for name, found in chosen.items()
            for rank, row in enumerate(found.tolist(), start=1)]  # fmt: skip
    names = ("specification", "rank", "row", "text", "label")
    formats.write_csv(args.output, dict(zip(names, zip(*rows, strict=True), strict=True)))
    print(f"{args.number} of {len(texts):,} rows for each of {len(specs)} specifications: {args.output}")


if __name__ == "__main__":
    command.run(main)
