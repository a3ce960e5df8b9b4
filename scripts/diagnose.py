#!/usr/bin/env python3
"""Diagnose a data set with models trained on parts of it: usable information, data maps, labels that models contradict.

    python scripts/diagnose.py --glue-dir GLUE --task CoLA --checkpoint CKPT --folds 5 --seeds 1 2 3 --epochs 3 -o DIR
    python scripts/diagnose.py --data train.csv dev.csv --checkpoint CKPT -o DIR
    python scripts/diagnose.py --probabilities predictions.npz -o DIR

For each fold and seed, a model is fine-tuned on the other folds; all statistics are computed from out-of-fold logits.
Finished runs are not repeated. --probabilities and --logits read predictions of any framework instead: .npz
(probabilities or logits, labels), a CSV of PVI, or a folder of training dynamics.

DIR receives summary.md, summary.json, diagnosis.csv, probabilities.npz, training_dynamics/ and figures/.
"""

import argparse
from pathlib import Path

import command
import flags
import headers
import job_options


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_sources(parser.add_argument_group("what is diagnosed"))
    job_options.add_fine_tuning(parser, 3, None, None)
    job_options.add_cross_fitting(parser, 5)
    flags.add_seeds(parser, [1, 2, 3])
    add_information(parser.add_argument_group("usable information"))
    add = parser.add_argument
    add("--slices", nargs="+", default=[], metavar="COLUMN", help="columns of the training file to report by")
    add("--cache-dir", metavar="DIR", help="cache of tokenized files, or none (default: under ~/.cache)")
    add("--no-figures", action="store_true", help="do not draw figures")
    flags.add_output(parser)
    job_options.add(parser, None, "one per GPU, else what cores and memory allow")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    check(parser, args)
    return args


def add_sources(group):
    """Add the options that name the rows, or predictions of them."""
    add = group.add_argument
    add("--glue-dir", metavar="DIR", help="folder with CoLA/, RTE/, ... or with the files of --task")
    add("--task", metavar="TASK", help="GLUE task, or YAML file that describes your own")
    add("--data", nargs="+", metavar="FILE", help="tables instead of --task: training file, then dev or valid")
    flags.add_columns(group, " of --data")
    add("--scores", action="store_true", help="the labels of --data are scores: diagnose a regression")
    add("--bins", type=flags.positive, default=5, metavar="N",
        help="bins of regression scores, for slices (%(default)s)")  # fmt: skip
    flags.add_skip_bad_rows(group)
    add("--probabilities", metavar="FILE", help="predictions to diagnose instead of training models")
    add("--logits", metavar="FILE", help="like --probabilities, for an .npz of logits")


def add_information(group):
    """Add the options of usable information: what models see, and what they are compared with."""
    add = group.add_argument
    add("--inputs", nargs="+", default=["full"], metavar="INPUT", help="what models see: full, first, second, "
        "shuffled, length, overlap, start:N, words:LIST, without:LIST, masked:LIST, matched:LIST (masks other words of "
        "similar frequency), hypernyms:LIST (full)")  # fmt: skip
    add("--null", choices=["prior", "model"], default="prior", help="prediction without the input: the distribution of "
        "the training labels (default), or a model trained on the empty input")  # fmt: skip
    add("--calibration", choices=["temperature", "bias"], default="temperature", help="calibration of the logits: "
        "a temperature (default), or also a bias for each class, for unequal classes")  # fmt: skip
    add("--sizes", nargs="+", type=flags.fraction, default=[], metavar="X",
        help="fractions of the training rows, for a curve")  # fmt: skip
    add("--similarity", type=flags.fraction, default=0.8, metavar="X",
        help="similarity of near duplicates, which share a fold (%(default)s)")  # fmt: skip
    add("--wordnet", metavar="DIR", help="folder of WordNet's files, for hypernyms (default: where Debian has them)")


def check(parser, args):
    """Exit if options contradict each other."""
    sources = [name for name in ("task", "data", "probabilities", "logits") if getattr(args, name)]
    if len(sources) != 1:
        parser.error("give one of --task, --data, --probabilities and --logits")
    if sources[0] in ("task", "data") and not args.checkpoint:
        parser.error("--checkpoint must name a pretrained model")
    if args.scores and not args.data:
        parser.error("--scores is an option of --data")
    if args.task and not args.glue_dir:
        parser.error("--glue-dir must name the folder of the task's files")
    if args.stacked and (args.frozen or args.scores):
        parser.error("--stacked fine-tunes classifiers: give it without --frozen and --scores")
    if args.folds < 2:
        parser.error(f"--folds must be at least 2, but is {args.folds}")


def main():
    args = parse_args()
    task = args.task if args.task and args.task.endswith((".yaml", ".yml")) else None
    tables = args.data or []
    command.check_inputs(
        [*tables, task, args.config], [args.glue_dir, args.wordnet, args.probabilities, args.logits], [args.checkpoint]
    )
    command.check_outputs(folders=[args.output])
    command.check_tasks([args.task], "--task", args.glue_dir)
    flags.check_columns(tables, args)
    headers.check(next(iter(tables), None), args.slices, "--slices")
    from plugins import user_dir
    from plugins.errors import report_in_one_line
    from plugins.files import check_distinct, check_not_read
    from plugins.glue import diagnose

    report_in_one_line()
    names = ("diagnosis.csv", "probabilities.npz", "summary.json", "summary.md")
    read = [*tables, task, args.probabilities, args.logits, args.checkpoint, args.config]
    check_not_read([args.output, *(args.output / name for name in names)], read)
    check_distinct({f"file {number} of --data,": path for number, path in enumerate(tables, 1)})
    user_dir.load(args.user_dir)
    if args.probabilities or args.logits:
        kind = "probabilities" if args.probabilities else "logits"
        summary = diagnose.diagnose_file(args.probabilities or args.logits, kind, args.output, not args.no_figures,
                                         args.calibration == "bias")  # fmt: skip
    else:
        summary = trained(args)
    from plugins.diagnostics import diagnosis_report

    for line in summary["warnings"]:
        print(f"warning: {line}")
    print(diagnosis_report.sentence(summary))
    print(f"results are in {args.output}/; start with {args.output}/summary.md")


def trained(args):
    """Train the models whose runs are not finished, and return the summary."""
    import dataclasses

    from plugins.checkpoints import find_checkpoint
    from plugins.data.glue import dataset
    from plugins.glue import cross_fitting, diagnose, hyperparameters, runs

    resources = job_options.resources(args, args.cpu)
    checkpoint = find_checkpoint(args.checkpoint)
    rows, columns = read(args)
    given = {"epochs": args.epochs, "options": args.options} | {
        name: [value] for name in ("lr", "batch_size") if (value := getattr(args, name)) is not None
    }
    cache = args.cache_dir or dataset.default_cache()
    setting = cross_fitting.Setting(
        args.output.resolve(), Path(checkpoint).resolve(), list(dict.fromkeys(args.seeds)), given,
        hyperparameters.read_yaml(args.config) if args.config else {}, resources.on_cpu,
        None if cache == "none" else cache,
    )  # fmt: skip
    request = diagnose.DiagnosisRequest(
        args.folds, args.inputs, args.null, args.sizes, args.similarity, wordnet=args.wordnet, slices=columns,
        frozen=args.frozen, stacked=args.stacked, bias=args.calibration == "bias",
    )  # fmt: skip
    if args.jobs is None:
        many = 1000 if args.launcher == "submitit" else runs.fitting(checkpoint, args.threads, setting.cpu)
        resources = dataclasses.replace(resources, at_a_time=many)
    return diagnose.diagnose(rows, setting, request, resources, not args.no_figures)


def read(args):
    """Return the rows, and the training file's columns named by --slices."""
    from plugins.data.glue import reader, specs
    from plugins.diagnostics import datasets
    from plugins.diagnostics.columns import read_column
    from plugins.glue import cross_fitting

    if args.data:
        rows = datasets.read_files(args.data, args.text, args.label, args.bins if args.scores else None)
        if not args.scores:
            datasets.check_not_scores(rows)
        columns = {name: read_column(args.data[0], name) for name in args.slices}
    else:
        own = args.task.endswith((".yaml", ".yml"))
        spec = specs.read(args.task) if own else specs.find(args.task, "--task")
        rows = datasets.read_task(args.glue_dir, spec, None, args.bins, args.skip_bad_rows)
        path = reader.locate(args.glue_dir, spec, specs.TRAIN)
        columns = {name: read_column(path, name, spec) for name in args.slices}
    return cross_fitting.train_and_valid(rows), columns


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
