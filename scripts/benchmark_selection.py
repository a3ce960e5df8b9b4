#!/usr/bin/env python3
"""Measure whether rows selected by specifications help a model on what they specify.

    python scripts/benchmark_selection.py train.csv --pool pool.csv --specs specs.yaml --number 100 -o DIR
    python scripts/benchmark_selection.py train.csv --pool pool.csv --specs specs.yaml --number 100 \
        --checkpoint CKPT --epochs 4 -o DIR

Four models are trained: M0 on the training rows, M1 with random rows of the pool, M2 with as many rows that
scripts/select_data.py selects, M3 with the queries of the specifications alone. The table has the share of the held_out
texts of each specification that they get wrong, and of held-out training rows, over the seeds. The models are linear
ones on TF-IDF without --checkpoint. DIR gets results.md, results.csv and summary.json.
"""

import argparse
import shlex
import sys
from pathlib import Path

import command
import flags
import headers
import job_options
import ranker_options


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("train", metavar="TRAIN", help="CSV, TSV or JSON lines with a column of text and one of the classes")
    add("--pool", required=True, metavar="FILE", help="the same columns; its labels are used once rows are selected")
    add("--specs", required=True, metavar="YAML", help="specifications with held_out texts")
    add("--text", metavar="COLUMN", help="column of the text (default: sentence, text, ...)")
    add("--label", metavar="COLUMN", help="column of the classes (default: label, gold_label, ...)")
    flags.add_selected(parser)
    ranker_options.add(parser, "--ranker-checkpoint")
    add("--held-out", type=float, default=0.2, metavar="X", help="held-out fraction of the training rows (%(default)s)")
    flags.add_seeds(parser, [1, 2, 3, 4, 5], " of the held-out rows, the random rows and the fine-tuning")
    job_options.add_fine_tuning(parser, 4, 5e-4, 32, "a linear model")
    flags.add_output(parser)
    job_options.add(parser, 1, "1")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    ranker_options.check(parser, args)
    if not 0 < args.held_out <= 0.5:
        parser.error(f"--held-out must be above 0 and at most 0.5, but is {args.held_out:g}")
    return args


def main():
    args = parse_args()
    files = [args.train, args.pool, args.specs]
    command.check_inputs(files, checkpoints=[args.checkpoint, args.ranker_checkpoint])
    command.check_outputs(folders=[args.output])
    for path in (args.train, args.pool):
        headers.check(path, [args.text], "--text")
        headers.check(path, [args.label], "--label")
    from plugins import user_dir
    from plugins.checkpoints import find_checkpoint
    from plugins.data.glue import dataset
    from plugins.diagnostics import datasets, specifications
    from plugins.errors import report_in_one_line
    from plugins.files import check_distinct, check_not_read, staging
    from plugins.glue import augmentation, cross_fitting

    report_in_one_line()
    names = ("results.md", "results.csv", "summary.json")
    check_not_read([args.output, *(args.output / name for name in names)], [*files, args.checkpoint])
    check_distinct({"TRAIN": args.train, "--pool": args.pool})
    user_dir.load(args.user_dir)
    resources = job_options.resources(args, args.cpu)
    rows = datasets.read_files([args.train, args.pool], [args.text] if args.text else [], args.label)
    setting = None
    if args.checkpoint:
        given = {"epochs": args.epochs, "lr": [args.lr], "batch_size": [args.batch_size], "options": args.options}
        checkpoint = Path(find_checkpoint(args.checkpoint)).resolve()
        setting = cross_fitting.Setting(args.output.resolve(), checkpoint, args.seeds, given, {}, resources.on_cpu,
                                        dataset.default_cache())  # fmt: skip
    found = augmentation.run(rows, specifications.read(args.specs), args.number, ranker_options.ranker(args),
                             args.aggregate, list(dict.fromkeys(args.seeds)), args.held_out, setting,
                             resources)  # fmt: skip
    with staging(args.output) as folder:
        text = augmentation.write(folder, found, shlex.join(["python", *sys.argv]))
    print(text)


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
