#!/usr/bin/env python3
"""Plant wrong labels and measure how many of them the first rows of several orders contain.

    python scripts/benchmark_label_errors.py --lines drama.txt novel.txt reviews.txt --rows 1800 -o DIR
    python scripts/benchmark_label_errors.py --data lines.tsv --checkpoint CKPT --folds 3 --epochs 4 -o DIR
    python scripts/benchmark_label_errors.py --glue-dir GLUE --task MRPC --checkpoint CKPT --frozen -o DIR

Orders are cleanlab's scores, ours, the review loop with a perfect reviewer and with one who errs in 10 %, and random
ones, all from the same out-of-fold probabilities: of a fine-tuned checkpoint, or without --checkpoint of a logistic
regression on TF-IDF. DIR gets results.md, results.csv, summary.json, precision.png, and planted.npz with the labels
and logits, which --planted measures again without training.
"""

import argparse
import shlex
import sys
from pathlib import Path

import command
import flags
import job_options

KINDS = ("uniform", "asymmetric", "one_class", "pair", "cyclic", "rare_class", "annotator")


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_rows(parser.add_argument_group("rows"))
    add_errors(parser.add_argument_group("planted errors"))
    job_options.add_fine_tuning(parser, 4, 5e-4, 32, "a linear model")
    job_options.add_cross_fitting(parser, 3)
    flags.add_seeds(parser, [1], " of the fine-tuning")
    flags.add_output(parser)
    job_options.add(parser, 1, "1")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if sum(map(bool, (args.data, args.task, args.lines, args.planted))) != 1:
        parser.error("give one of --task, --data, --lines and --planted")
    if (args.frozen or args.stacked) and not args.checkpoint:
        parser.error("--frozen and --stacked need --checkpoint")
    if args.frozen and args.stacked:
        parser.error("give one of --frozen and --stacked")
    if args.task and not args.glue_dir:
        parser.error("--glue-dir must name the folder of the task's files")
    return args


def add_rows(group):
    """Add the options that name the rows."""
    add = group.add_argument
    add("--glue-dir", metavar="DIR", help="folder with the official files")
    add("--task", metavar="TASK", help="a task of GLUE, or a YAML file of your own")
    add("--data", metavar="FILE", help="a table instead")
    flags.add_columns(group, " of --data")
    add("--lines", nargs="+", metavar="FILE", help="plain text files instead, one a class; --rows lines are used")
    add("--planted", nargs="+", metavar="NPZ", help="planted.npz of earlier calls, with the same rows and folds")
    add("--rows", type=flags.positive, metavar="N", help="use N random rows")


def add_errors(group):
    """Add the options of the errors to plant."""
    add = group.add_argument
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND",
        help=f"kinds of errors: {', '.join(KINDS)} (all)")  # fmt: skip
    add("--rates", nargs="+", type=float, default=[0.1, 0.3], metavar="X", help="fractions of wrong labels (0.1 0.3)")
    add("--plantings", type=flags.positive, default=3, metavar="N",
        help="plantings of each kind and rate (%(default)s)")  # fmt: skip
    add("--first-planting", type=flags.positive, default=1, metavar="N", help="number of the first of them, the random "
        "seed; plantings of several calls are measured together with --planted (%(default)s)")  # fmt: skip


def main():
    args = parse_args()
    task = args.task if args.task and args.task.endswith((".yaml", ".yml")) else None
    used = [args.data, task, args.config, *(args.lines or []), *(args.planted or [])]
    command.check_inputs(used, [args.glue_dir], [args.checkpoint])
    command.check_outputs(folders=[args.output])
    command.check_tasks([args.task], "--task", args.glue_dir)
    flags.check_columns([args.data], args)
    from plugins.diagnostics import planted
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, staging
    from plugins.glue import label_benchmark

    report_in_one_line()
    names = ("results.md", "results.csv", "summary.json", "precision.png", "planted.npz")
    check_not_read([args.output, *(args.output / name for name in names)], [*used, args.checkpoint])
    found = planted.read(args.planted) if args.planted else trained(args)
    results = label_benchmark.measure(found)
    with staging(args.output) as folder:
        summary = label_benchmark.write(folder, results, shlex.join(["python", *sys.argv]))
    print((args.output / "results.md").read_text(encoding="utf-8"))
    print(f"cleanlab's best score here: {summary['cleanlab_best']}; everything is in {args.output}/")


def trained(args):
    """Plant, train what has not been trained yet, write planted.npz, and return its content."""
    from plugins import user_dir
    from plugins.checkpoints import find_checkpoint
    from plugins.data.glue import dataset
    from plugins.diagnostics import planted
    from plugins.glue import cross_fitting, hyperparameters, label_benchmark

    user_dir.load(args.user_dir)
    resources = job_options.resources(args, args.cpu)
    rows = read(args)
    setting = None
    if args.checkpoint:
        checkpoint = Path(find_checkpoint(args.checkpoint)).resolve()
        given = {"epochs": args.epochs, "lr": [args.lr], "batch_size": [args.batch_size], "options": args.options}
        setting = cross_fitting.Setting(args.output.resolve(), checkpoint, args.seeds, given,
                                        hyperparameters.read_yaml(args.config) if args.config else {},
                                        resources.on_cpu, dataset.default_cache())  # fmt: skip
    wanted = label_benchmark.plantings(rows, args.kinds, args.rates, args.plantings, args.first_planting)
    found = label_benchmark.train(rows, wanted, args.folds, setting, resources, args.frozen, args.stacked)
    planted.write(args.output / "planted.npz", found)
    return found


def read(args):
    """Return the rows that labels are planted in."""
    import numpy as np

    from plugins.data.glue import specs
    from plugins.diagnostics import datasets
    from plugins.errors import check

    if args.lines:
        return datasets.read_lines(args.lines, (args.rows or 2400) // len(args.lines))
    if args.data:
        rows = datasets.read_files([args.data], args.text, args.label)
    else:
        own = args.task.endswith((".yaml", ".yml"))
        spec = specs.read(args.task) if own else specs.find(args.task, "--task")
        check(not spec.is_regression, f"--task {args.task}: labels are planted in classes, not in scores")
        rows = datasets.read_task(args.glue_dir, spec, [specs.TRAIN])
    if not args.rows:
        return rows
    check(args.rows <= len(rows), f"--rows {args.rows}: there are {len(rows)}")
    return rows.take(np.sort(np.random.default_rng(0).permutation(len(rows))[: args.rows]))


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
