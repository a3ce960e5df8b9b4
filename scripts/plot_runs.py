#!/usr/bin/env python3
"""Draw training and validation loss of runs of fairseq-train, the mean over seeds of each configuration.

    python scripts/plot_runs.py checkpoints/runs/* -o plots
    python scripts/plot_runs.py RUN_DIR... --metric nats
    python scripts/plot_runs.py RUN_DIR... --evaluation style_1.json style_2.json --speed benchmarks/results/char_sample.json

A run is the folder of its checkpoints, with its log in it (log, *.log, as from `fairseq-train ... | tee RUN_DIR/train.log`,
--log-file, or hydra's), or the log itself, in fairseq's json, simple or tqdm format. Without a log, the losses that the
checkpoints hold are taken. Runs whose options differ by the seed alone are one configuration.

It writes loss.png and runs.json, speed.png for --speed, and consistency.png for --evaluation.
"""  # noqa: E501

import argparse
import math
import sys
from pathlib import Path

LABELS = {  # of metrics; others are called as in the log
    "loss": "loss, as logged (bits)",
    "nats": "loss (nats a token)",
    "bpc": "loss (bits a character)",
    "ppl": "perplexity",
}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", nargs="*", type=Path, metavar="RUN_DIR", help="folders of runs, or their logs")
    add("-o", "--output", type=Path, default=Path("plots"), metavar="DIR", help="where to (default: %(default)s)")
    add("--metric", default="loss", metavar="NAME", help="what to draw, by its name in the log (default: %(default)s)")
    add("--title", default="Training and validation", help="of the curves (default: %(default)s)")
    add("--evaluation", nargs="+", type=Path, default=[], metavar="JSON", help="of scripts/evaluate_style.py")
    add("--judge", choices=("svm", "bayes"), default="svm", help="of the style consistency (default: %(default)s)")
    add("--speed", type=Path, metavar="JSON", help="of a benchmark, such as benchmarks/results/char_sample.json")
    args = parser.parse_args(argv)
    if not (args.runs or args.evaluation or args.speed):
        parser.error("name the folder of at least one run, or give --evaluation or --speed")
    return args


def read_runs(paths):
    """Return the configurations of runs, and {path: why} of those that are skipped, which stderr names."""
    from plugins.analysis.runs import groups
    from plugins.analysis.runs import logs as training_logs
    from plugins.errors import UserError

    found, skipped = [], {}
    for path in paths:
        try:
            found.append(training_logs.read_run(path))
        except UserError as error:
            skipped[str(path)] = str(error)
            print(f"skipped: {error}", file=sys.stderr)
    if paths and not found:
        raise UserError(f"none of {len(paths)} runs holds any losses: " + ", ".join(map(str, paths)))
    return groups.group(found), skipped


def draw_curves(args, configurations):
    """Draw loss.png, and return what it shows, for JSON.

    Raises:
        UserError: no run has the metric.
    """
    from plugins.analysis.runs import groups
    from plugins.analysis.runs import plots as run_plots
    from plugins.analysis.runs.logs import TRAIN, VALID
    from plugins.errors import UserError

    panels, entries = {TRAIN: {}, VALID: {}}, []
    for configuration in configurations:
        averaged = configuration.curves(args.metric)
        seeds = len(configuration.runs)
        label = f"{configuration.name} ({seeds} seeds)" if seeds > 1 else configuration.name
        for stage, curve in averaged.items():
            panels[stage][label] = curve
        entry = {"name": configuration.name, "runs": []}
        for run in configuration.runs:
            each = {stage: as_lists(*groups.curve_of(run, args.metric, stage)) for stage in panels}
            entry["runs"].append(
                {"path": str(run.path), "seed": groups.seed_of(run), "read_from": run.source} | each
            )
        warn_of_short(configuration.name, entry["runs"], averaged, args.metric)
        entries.append(entry | {stage: as_lists(*curve) for stage, curve in averaged.items()})
    if not any(panels.values()):
        there = sorted({name for c in configurations for run in c.runs for r in run.records for name in r.values})
        if args.metric in there:
            raise UserError(f"--metric {args.metric}: no two seeds have it at the same update; draw one of them alone")
        raise UserError(f"--metric {args.metric}: no such number in any run; there are {', '.join(there)}")
    headings = {TRAIN: "training", VALID: "validation"}
    shown = {headings[stage]: curves for stage, curves in panels.items() if curves}
    several = any(len(c.runs) > 1 for c in configurations)
    note = "mean over seeds, band: one standard error" if several else ""
    run_plots.band_panels(args.output / "loss.png", shown, args.title, LABELS.get(args.metric, args.metric), note)
    return entries


def as_lists(updates, values, errors=None):
    numbers = {"updates": updates.tolist(), "values": values.tolist()}
    return numbers if errors is None else numbers | {"standard_errors": errors.tolist()}


def warn_of_short(name, of_runs, averaged, metric):
    """Say which runs the mean over seeds of a configuration ends with, or what keeps it from being taken."""
    for stage in ("train", "valid"):
        ends = {run["path"]: max(run[stage]["updates"], default=0) for run in of_runs}
        shortest = min(ends, key=ends.get)
        if stage not in averaged and max(ends.values()):
            print(f"{name}: its runs have {metric} ({stage}) at no common update: not drawn", file=sys.stderr)
        elif ends[shortest] < max(ends.values()):
            print(f"{name}: {stage} ends at update {ends[shortest]}, where {shortest} does", file=sys.stderr)


def draw_consistency(args, configurations):
    """Draw consistency.png, and return what it shows."""
    from plugins.analysis.runs import bars as run_bars
    from plugins.analysis.runs import groups
    from plugins.analysis.runs import plots as run_plots
    from plugins.errors import UserError

    called = {run.path.absolute(): c.name for c in configurations for run in c.runs}
    evaluations, seen = {}, {}
    for path in args.evaluation:
        found = run_bars.read_evaluation(path)
        checkpoint = Path(found["checkpoint"]).absolute()
        folder = checkpoint.parent if checkpoint.suffix == ".pt" else checkpoint
        if checkpoint in seen:
            raise UserError(f"{path}: of the same checkpoint as {seen[checkpoint]}; give one of them")
        seen[checkpoint] = path
        evaluations.setdefault(called.get(folder) or groups.name_of(checkpoint), []).append(found)
    series = run_bars.consistency(evaluations, args.judge)
    if not series:
        raise UserError(f"no judge {args.judge} in {', '.join(map(str, args.evaluation))}: the models were not judged")
    chances = {e["chance"] for of_one in evaluations.values() for e in of_one}
    windows = sorted({e["options"]["window"] for of_one in evaluations.values() for e in of_one})
    line = (chances.pop(), "chance") if len(chances) == 1 else None
    note = f"judge: {args.judge}, windows of {', '.join(map(str, windows))} characters; standard errors"
    path, what = args.output / "consistency.png", run_bars.CONSISTENCY
    run_plots.bars(path, list(evaluations), series, "Style consistency", what, note, line)
    return {"judge": args.judge, "configurations": list(evaluations)} | as_series(series)


def as_series(series):
    return {"series": {name: {"values": v.tolist(), "errors": e.tolist()} for name, (v, e) in series.items()}}


def draw_speed(args):
    """Draw speed.png, and return what it shows."""
    from plugins.analysis.runs import bars as run_bars
    from plugins.analysis.runs import plots as run_plots

    contestants, unit, bars = run_bars.read_speeds(args.speed)
    title, note = "Inference speed", "median, and the least and most of the repeats"
    run_plots.bars(args.output / "speed.png", contestants, {unit: bars}, title, unit, note)
    return {"contestants": contestants} | as_series({unit: bars})


def main():
    args = parse_args()
    from plugins.analysis.runs import bars as run_bars
    from plugins.analysis.runs.grids import without_nan
    from plugins.errors import report_in_one_line
    from plugins.files import make_folder, write_json

    report_in_one_line()
    configurations, skipped = read_runs(args.runs)
    for path in args.evaluation:  # before anything is drawn
        run_bars.read_evaluation(path)
    if args.speed:
        run_bars.read_speeds(args.speed)
    make_folder(args.output)
    result = {"metric": args.metric, "skipped": skipped}
    if configurations:
        result["configurations"] = draw_curves(args, configurations)
    if args.evaluation:
        result["consistency"] = draw_consistency(args, configurations)
    if args.speed:
        result["speed"] = draw_speed(args)
    write_json(args.output / "runs.json", without_nan(result))
    for entry in result.get("configurations", ()):
        last = {stage: entry[stage]["values"][-1] for stage in ("train", "valid") if stage in entry}
        said = ", ".join(f"{stage} {value:.4f}" for stage, value in last.items() if not math.isnan(value))
        runs = "1 run" if len(entry["runs"]) == 1 else f"{len(entry['runs'])} runs"
        print(f"{entry['name']}: {runs}, last {args.metric}: {said}")
    print(f"drawings and runs.json are in {args.output}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
