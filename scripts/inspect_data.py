#!/usr/bin/env python3
"""Inspect a data set without a model: sizes, duplicates, leaks, divergence of classes, words that give labels away.

    python scripts/inspect_data.py train.csv test.csv -o inspected
    python scripts/inspect_data.py --glue-task RTE --glue-dir GLUE -o inspected
    python scripts/inspect_data.py --spec mood.yaml --glue-dir FOLDER -o inspected

Files have a header (CSV, TSV) or are JSON lines; several files are the splits of one data set, the first one to train
on. DIR gets summary.md, summary.json, words.csv, duplicates.csv, conflicts.csv, divergence.csv, probe.csv and figures.
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
    add("files", nargs="*", metavar="FILE", help="CSV with quoting, TSV without, or JSON lines")
    flags.add_columns(parser)
    add("--glue-task", metavar="TASK", help="a task of GLUE, in place of files")
    add("--spec", metavar="YAML", help="YAML file of a custom task, instead of files")
    add("--glue-dir", metavar="DIR", help="folder of the task's files, for --glue-task and --spec")
    add("--bins", type=flags.positive, default=5, metavar="N", help="classes that scores are cut into (%(default)s)")
    flags.add_skip_bad_rows(parser)
    add("--similarity", type=float, default=0.8, metavar="X", help="Jaccard similarity of 5-character pieces from "
        "which texts are near duplicates (%(default)s)")  # fmt: skip
    add("--draws", type=int, default=20, metavar="N", help="shuffled labels for the floor of divergences (%(default)s)")
    add("--recipe", choices=["gothate"], help="add the divergences of a published method, for comparison")
    flags.add_seed(parser)
    add("--no-figures", action="store_true", help="do not draw figures")
    flags.add_output(parser)
    args = parser.parse_args(argv)
    if sum(map(bool, (args.files, args.glue_task, args.spec))) != 1:
        parser.error("give either files, or --glue-task, or --spec")
    if not args.files and not args.glue_dir:
        parser.error("--glue-dir must name the folder of the task's files")
    if not 0 < args.similarity <= 1 or args.draws < 1:
        parser.error("--similarity must be above 0 and at most 1, --draws at least 1")
    return args


def main():
    args = parse_args()
    command.check_inputs([*args.files, args.spec], [args.glue_dir])
    command.check_outputs(folders=[args.output])
    command.check_tasks([args.glue_task], "--glue-task", args.glue_dir, own=False)
    flags.check_columns(args.files, args)
    from plugins.data.glue import specs
    from plugins.diagnostics import datasets, inspection, inspection_figures, inspection_report
    from plugins.errors import located, report_in_one_line
    from plugins.files import check_not_read, staging

    report_in_one_line()
    names = (
        "words.csv",
        "duplicates.csv",
        "conflicts.csv",
        "divergence.csv",
        "probe.csv",
        "summary.json",
        "summary.md",
    )
    check_not_read([args.output, *(args.output / name for name in names)], [*args.files, args.spec])
    if args.files:
        rows = datasets.read_files(args.files, args.text, args.label)
    else:
        spec = specs.read(args.spec) if args.spec else specs.find(args.glue_task)
        rows = datasets.read_task(args.glue_dir, spec, bins=args.bins, skip_bad_rows=args.skip_bad_rows)
    with staging(args.output) as folder:
        with located(args.files[0] if args.files else args.glue_dir):
            found = inspection.inspect(rows, args.similarity, args.draws, args.seed, args.recipe)
        summary = inspection_report.write(found, folder)
        if not args.no_figures:
            inspection_figures.draw(found, folder / "figures")
    print(f"{len(rows):,} rows. {inspection_report.probe_sentence(summary['probe'])}")
    for line in inspection_report.duplicate_sentences(summary["duplicates"]):
        print(line)
    print(f"everything is in {args.output}/; begin with {args.output}/summary.md")


if __name__ == "__main__":
    command.run(main)
