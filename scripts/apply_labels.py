#!/usr/bin/env python3
"""Write the labels of a review into a copy of a data file; all other bytes stay unchanged.

    python scripts/apply_labels.py train.csv review.jsonl -o train_mended.csv
    python scripts/apply_labels.py GLUE/CoLA/train.tsv review.jsonl --glue-task CoLA -o train_mended.tsv

The copy is refused if the text or the label of a judged row has changed. A log of the changes is written to
OUTPUT.log.csv. Compressed files (gzip, zstd) are unpacked; the copy is compressed if its name ends with .gz.
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
    add("data", metavar="DATA", help="training file that was diagnosed: CSV, TSV or JSON lines")
    add("review", metavar="REVIEW.jsonl", help="export of the review page")
    flags.add_columns(parser)
    add("--glue-task", metavar="TASK", help="GLUE task of the file")
    add("--spec", metavar="YAML", help="YAML file of your own task that the file belongs to")
    flags.add_output(parser, "MENDED", "file to write")
    args = parser.parse_args(argv)
    if args.glue_task and args.spec:
        parser.error("give either --glue-task or --spec")
    return args


def main():
    args = parse_args()
    command.check_inputs(files=[args.data, args.review, args.spec])
    command.check_outputs([args.output])
    command.check_tasks([args.glue_task], "--glue-task", own=False)
    if not (args.glue_task or args.spec):
        flags.check_columns([args.data], args)
    from plugins.data.glue import specs
    from plugins.diagnostics import columns, formats, mending
    from plugins.errors import report_in_one_line, shown
    from plugins.files import check_not_read, replacing

    report_in_one_line()
    log_path = args.output.with_name(args.output.name + ".log.csv")
    check_not_read([args.output, log_path], [args.data, args.review, args.spec])
    judgments = mending.read_review(args.review)
    names = header = None
    if args.glue_task or args.spec:
        spec = specs.read(args.spec) if args.spec else specs.find(args.glue_task)
        texts, label = spec.text, spec.label
        names = dict(zip(spec.id2label, spec.labels, strict=True))
        header = (spec.headless or {}).get(specs.TRAIN)
    else:
        texts, label = columns.known_columns(args.data, args.text, args.label)
    rows = mending.cells(args.data, texts, label, header)
    content, log = mending.mended(args.data, rows, judgments, names)
    keys = ("row", "old", "new")
    with replacing(args.output) as part, replacing(log_path) as log_part:
        part.write_bytes(mending.packed(content, args.output))
        formats.write_csv(log_part, {key: [entry[key] for entry in log] for key in keys})
    known = {cell.label for cell in rows}
    new = sorted({e["new"] for e in log if not any(mending.same(label, e["new"]) for label in known)})
    if new:
        print(f"warning: no other row has the label {', '.join(map(shown, new))}")
    print(f"{len(judgments)} judgments, {len(log)} labels changed: {args.output} (log: {log_path})")


if __name__ == "__main__":
    command.run(main)
