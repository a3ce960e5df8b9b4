#!/usr/bin/env python3
"""Compare two data sets with the same classes: do their labels mean the same?

    python scripts/compare_data.py one.csv other.csv -o compared

compared/conflicts.csv has equal and nearly equal texts with different labels; disagreements.csv the rows to which
linear models of the two data sets confidently assign different labels; summary.md the usable information that a model
trained on either data set has about the other, raw and calibrated, how well the data sets can be distinguished, and
words that mark disagreements.
"""

import argparse

import command
import flags


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("first", metavar="A", help="CSV, TSV or JSON lines")
    add("second", metavar="B", help="the same")
    flags.add_columns(parser)
    add("--map", metavar="YAML", help="a mapping of the classes of both to common ones")
    add("--similarity", type=flags.fraction, default=0.8, metavar="X",
        help="Jaccard similarity of near duplicates (%(default)s)")  # fmt: skip
    add("--equal", action="store_true", help="sample the same number of rows per label from both")
    flags.add_output(parser)
    return parser.parse_args(argv)


def main():
    args = parse_args()
    command.check_inputs([args.first, args.second, args.map])
    command.check_outputs(folders=[args.output])
    flags.check_columns((args.first, args.second), args)
    import numpy as np

    from plugins.diagnostics import comparison, comparison_report, datasets
    from plugins.errors import check, report_in_one_line
    from plugins.files import check_distinct, check_not_read, read_yaml, staging

    report_in_one_line()
    check_distinct({"A": args.first, "B": args.second})
    written = [args.output / name for name in ("conflicts.csv", "disagreements.csv", "summary.json", "summary.md")]
    check_not_read([args.output, *written], [args.first, args.second, args.map])
    rows = [datasets.read_files([path], args.text, args.label) for path in (args.first, args.second)]
    mapping = read_yaml(args.map, texts=True) if args.map else None
    check(mapping is None or isinstance(mapping, dict), f"--map {args.map}: a mapping of classes is expected")
    classes, *labels = comparison.same_classes(*rows, mapping)
    if args.equal:
        counts = np.min([np.bincount(own, minlength=len(classes)) for own in labels], axis=0)
        random = np.random.default_rng(1)
        kept = []
        for own in labels:
            drawn = [random.permutation(np.flatnonzero(own == k))[:n] for k, n in enumerate(counts)]
            kept.append(np.sort(np.concatenate(drawn)))
        rows = [part.take(own) for part, own in zip(rows, kept, strict=True)]
        labels = [own[chosen] for own, chosen in zip(labels, kept, strict=True)]
    with staging(args.output) as folder:
        pairs = comparison.conflicts(*rows, labels, args.similarity)
        found = comparison.compare(*rows, labels, len(classes))
        text = comparison_report.write(folder, rows, labels, classes, pairs, found)
    print(text)
    print(f"everything is in {args.output}/")


if __name__ == "__main__":
    command.run(main)
