#!/usr/bin/env python3
"""List the rows whose labels are likely wrong, and make a page to review them in.

    python scripts/diagnose.py ... -o DIR
    python scripts/find_label_errors.py DIR -o errors
    python scripts/apply_labels.py train.tsv review.jsonl -o train_mended.tsv

errors/errors.csv has the rows, the likeliest to be wrong first; errors/review.html is one file to open in a browser,
where keys label the rows, the rest is ranked again after every 20 judgments, and the result is exported.
"""

import argparse
from pathlib import Path

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
    orders = ["ranks", "pvi", "self_confidence", "normalized_margin", "confidence_weighted_entropy"]
    add("folder", metavar="DIR", help="folder written by scripts/diagnose.py")
    flags.add_output(parser)
    add("--order", choices=orders, default="normalized_margin", help="first order of the rows (default: %(default)s); "
        "ranks: margin and information together")  # fmt: skip
    add("--specs", metavar="YAML", help="examples of labels: rows that look like those of another label than theirs "
        "come earlier; see scripts/select_data.py")  # fmt: skip
    add("--specs-alone", action="store_true", help="order only by --specs, without the models' predictions")
    ranker_options.add(parser)
    add("--top", type=int, default=2000, metavar="N", help="rows on the page (%(default)s); the table has all")
    add("--slices", nargs="+", default=[], metavar="COLUMN", help="columns of diagnosis.csv to filter by on the page")
    add("--title", help="heading of the page (default: the folder's name)")
    args = parser.parse_args(argv)
    if args.top < 1:
        parser.error(f"--top must be at least 1, but is {args.top}")
    if args.specs_alone and not args.specs:
        parser.error("--specs-alone needs --specs")
    ranker_options.check(parser, args)
    return args


def main():
    args = parse_args()
    command.check_inputs([args.specs], [args.folder], [args.ranker_checkpoint])
    command.check_outputs(folders=[args.output])
    command.check_contains(args.folder, ["diagnosis.csv", "probabilities.npz"])
    headers.check(Path(args.folder, "diagnosis.csv"), args.slices, "--slices")
    import dataclasses

    from plugins.diagnostics import diagnosis, formats, label_errors, review_page, specifications
    from plugins.errors import check, report_in_one_line
    from plugins.files import check_not_read, staging, write_text

    report_in_one_line()
    written = [args.output / name for name in ("errors.csv", "review.html")]
    check_not_read([args.output, *written], [args.folder, args.specs])
    rows = label_errors.load(args.folder)
    rows = dataclasses.replace(rows, score=label_errors.order_by(rows, args.order))
    if args.specs:
        texts = [" ".join(row) for row in zip(*rows.texts, strict=True)]
        suspicion, _ = specifications.suspects(texts, rows.labels, rows.classes, specifications.read(args.specs),
                                               ranker_options.ranker(args), args.aggregate)  # fmt: skip
        both = [-suspicion] if args.specs_alone else [-suspicion, rows.score]
        rows = dataclasses.replace(rows, score=diagnosis.ranked_together(*both))
    table = label_errors.read_table(Path(args.folder, "diagnosis.csv"))
    for name in args.slices:
        check(name in table, f"--slices {name}: no such column; there are {', '.join(table)}")
    title = args.title or f"Labels of {Path(args.folder).resolve().name}"
    page = review_page.render(rows, title, args.top, {name: table[name] for name in args.slices})
    with staging(args.output) as folder:
        formats.write_csv(folder / "errors.csv", label_errors.columns(rows, rows.order))
        write_text(folder / "review.html", page)
    print(f"{len(rows):,} rows, {int(rows.flags.sum()):,} flagged: {args.output}/errors.csv")
    print(f"open {args.output}/review.html in a browser to judge the first {min(args.top, len(rows)):,}")


if __name__ == "__main__":
    command.run(main)
