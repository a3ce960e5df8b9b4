#!/usr/bin/env python3
"""Write the predictions of fine-tuned models, for one split or as a submission to gluebenchmark.com.

    python scripts/predict_glue.py --checkpoint DIR/RTE/RUN/checkpoint_best.pt --glue-dir GLUE -o rte.tsv
    python scripts/predict_glue.py --checkpoint DIR/MNLI/RUN/checkpoint_best.pt --glue-dir GLUE --task AX -o ax.tsv
    python scripts/predict_glue.py --runs DIR --glue-dir GLUE --submission submission.zip

DIR is the --output of scripts/run_glue.py, of which each task's best run is taken. Metrics are printed where the split
has labels.
"""

import argparse
import json
import sys
from pathlib import Path

import choices
import command
import flags


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", metavar="CKPT", help="one fine-tuned model")
    which.add_argument("--runs", metavar="DIR", help="folder written by scripts/run_glue.py")
    add("--glue-dir", "--hf-dataset", required=True, metavar="DIR",
        help="folder with CoLA/, RTE/, ... of the official files, or of Parquet files or saved datasets")  # fmt: skip
    add("--task", metavar="TASK", help="another task with the same labels: AX for a model of MNLI")
    add("--split", default="test", help="valid, test, valid_mismatched, test_mismatched (default: %(default)s)")
    add("-o", "--output", metavar="FILE", help="with --checkpoint: file to write (default: print)")
    add("--submission", metavar="ZIP", help="with --runs: file to write")
    add("--official-labels", action="store_true", help="write labels as in the files (0, 1), not by name")
    flags.add_device(parser)
    flags.add_skip_bad_rows(parser)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if bool(args.runs) != bool(args.submission):
        parser.error("--runs and --submission must be given together")
    return args


def main():
    args = parse_args()
    command.check_inputs(paths=[args.glue_dir, args.runs], checkpoints=[args.checkpoint])
    command.check_outputs([args.output, args.submission])
    command.check_contains(args.runs, ["results.json"])
    command.check_tasks([args.task], "--task", args.glue_dir, own=False)
    command.check_names([args.split], choices.GLUE_SPLITS, "--split")
    from plugins import user_dir
    from plugins.errors import report_in_one_line

    report_in_one_line()
    user_dir.load(args.user_dir)
    check_output(args)
    submit(args) if args.runs else predict_one(args)


def check_output(args):
    """Refuse to write over the checkpoint, the results or a data file."""
    from plugins.data.glue import specs
    from plugins.files import check_not_read

    own = [specs.find(args.task, "--task")] if args.task else []
    names = {name for spec in (*specs.SPECS.values(), *own) for name in spec.files.values()}
    data = [path for name in names for path in (Path(args.glue_dir, name), *Path(args.glue_dir).glob(f"*/{name}"))]
    results = Path(args.runs, "results.json") if args.runs else None
    check_not_read([args.output, args.submission], [args.checkpoint, results, *data])


def predict_one(args):
    from plugins.data.glue import specs
    from plugins.files import write_text
    from plugins.glue import predict

    spec = specs.find(args.task, "--task") if args.task else None
    given = answers(args, args.checkpoint, args.split, spec)
    lines = predict.prediction_lines(given, given.spec.labels if args.official_labels else given.spec.id2label)
    if args.output:
        write_text(args.output, "\n".join(lines) + "\n")
    else:
        print("\n".join(lines))
    if given.targets is not None:
        scores = {name: round(value, 6) for name, value in given.scores().items()}
        print(json.dumps({"task": given.spec.name, "split": args.split, **scores}), file=sys.stderr)


def answers(args, checkpoint, split, spec):
    """Return a checkpoint's predictions for a split of a task."""
    from plugins import hub
    from plugins.glue import predict
    from plugins.hub.devices import move

    model = hub.load(checkpoint)
    move(model, args.device)
    return predict.answers(model, args.glue_dir, split, spec, None, args.skip_bad_rows)


def submit(args):
    """Write the leaderboard's zip from the best run of each task."""
    from plugins.data.glue import specs
    from plugins.errors import UserError
    from plugins.files import read_json
    from plugins.glue import predict

    path = Path(args.runs) / "results.json"
    if not path.exists():
        raise UserError(f"{path}: no such file; --runs takes the --output of a finished scripts/run_glue.py")
    best = read_json(path, dict).get("best")
    if not isinstance(best, dict):
        raise UserError(f"{path}: contains no best runs; --runs takes the --output of a finished scripts/run_glue.py")
    files, missing = {}, []
    for spec in specs.SPECS.values():
        checkpoint = best.get("MNLI" if spec.name == "AX" else spec.name)
        for split, name in spec.submission.items():
            if checkpoint is None:
                missing.append(name)
                continue
            try:
                files[name] = answers(args, Path(args.runs, checkpoint), split, spec)
                print(f"{name}: {len(files[name].index)} predictions", flush=True)
            except UserError as error:
                print(f"{name}: left out ({error})")
                missing.append(name)
    if not files:
        raise UserError(f"{args.runs}: no task of GLUE with a test split; nothing to submit")
    predict.write_submission(args.submission, files)
    print(f"{args.submission}: {len(files)} files")
    if missing:
        print(f"warning: the leaderboard also requires {', '.join(missing)}")


if __name__ == "__main__":
    command.run(main)
