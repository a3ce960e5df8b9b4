#!/usr/bin/env python3
"""Draw training and validation loss of runs of fairseq-train, the mean over seeds of each configuration.

    python scripts/plot_runs.py checkpoints/runs/* -o plots
    python scripts/plot_runs.py RUN_DIR... --metric nats
    python scripts/plot_runs.py RUN_DIR... --evaluation style_1.json style_2.json --speed benchmarks/results/char_sample.json

A run is the folder of its checkpoints with its log (log, *.log, as from `fairseq-train ... | tee RUN_DIR/train.log`,
--log-file, or hydra), or the log itself, in fairseq's json, simple or tqdm format. Without a log, the losses stored in
the checkpoints are used. Runs whose options differ in the seed only are one configuration.

Writes loss.png and runs.json; speed.png with --speed, and consistency.png with --evaluation.
"""  # noqa: E501

import argparse
import re
from pathlib import Path

import command
import flags

LOGS = ("log", "*.log", "log.txt", "train.txt", "*.log.txt")  # as plugins.analysis.runs.logs.LOG_NAMES
NUMBER = re.compile(r'([A-Za-z]\w*)"?(?:=|: ?"?| )-?\d')  # name=1, "name": "1" and name 1


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", nargs="*", type=Path, metavar="RUN_DIR", help="folders of runs, or their logs")
    flags.add_output(parser, "DIR", "output folder", "plots")
    add("--metric", default="loss", metavar="NAME", help="what to draw, by its name in the log (default: %(default)s)")
    add("--title", help="title of loss.png (default: its conclusion)")
    add("--evaluation", nargs="+", type=Path, default=[], metavar="JSON", help="files of scripts/evaluate_style.py")
    add("--judge", choices=("svm", "bayes"), default="svm", help="judge of the style (default: %(default)s)")
    add("--speed", type=Path, metavar="JSON", help="file of a benchmark (benchmarks/results/*.json)")
    args = parser.parse_args(argv)
    if not (args.runs or args.evaluation or args.speed):
        parser.error("name the folder of at least one run, or give --evaluation or --speed")
    return args


def check_metric(runs: list[Path], metric: str) -> None:
    """Exit with a one-line error if no run has a log or a checkpoint, or no log has the metric."""
    found = {run: [*filter(Path.is_file, [run, *(log for name in LOGS for log in run.glob(name))])] for run in runs}
    if runs and not any(logs or any(run.glob("*.pt")) for run, logs in found.items()):
        command.stop(f"{', '.join(map(str, runs))}: no log of fairseq-train, and no checkpoint")
    logged: dict[str, None] = {}
    for logs in found.values():
        if not logs:
            return
        for log in logs:
            with log.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    names = NUMBER.findall(line) if "num_updates" in line else []
                    logged |= dict.fromkeys(re.sub("^(train|valid)_", "", name) for name in names)
    if logged and not any(f"_{name}".endswith(f"_{metric}") for name in logged):  # valid1_loss of a second subset
        command.stop(f"--metric {metric}: no such number in any log; there are {', '.join(logged)}"[:1000])


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([*args.evaluation, args.speed])
    if not any(path.exists() for path in args.runs):  # others that are missing are skipped
        command.check_inputs(paths=args.runs)
    command.check_outputs(folders=[args.output])
    check_metric(args.runs, args.metric)
    from plugins.analysis.runs import bars, figures
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, staging, without_nan, write_json

    report_in_one_line()
    written = [args.output / name for name in ("runs.json", "loss.png", "speed.png", "consistency.png")]
    check_not_read([args.output, *written], [*args.runs, *args.evaluation, args.speed])
    configurations, skipped = figures.read_runs(args.runs)
    for path in args.evaluation:  # before anything is drawn
        bars.read_evaluation(path)
    if args.speed:
        bars.read_speeds(args.speed)
    result = {"metric": args.metric, "skipped": skipped}
    with staging(args.output) as folder:
        if configurations:
            curves = figures.loss_curves(folder / "loss.png", configurations, args.metric, args.title)
            result["configurations"] = curves
        if args.evaluation:
            path = folder / "consistency.png"
            result["consistency"] = figures.consistency(path, args.evaluation, configurations, args.judge)
        if args.speed:
            result["speed"] = figures.speed(folder / "speed.png", args.speed)
        write_json(folder / "runs.json", without_nan(result))
    for line in figures.summary(result.get("configurations", ()), args.metric):
        print(line)
    print(f"figures and runs.json are in {args.output}")


if __name__ == "__main__":
    command.run(main)
