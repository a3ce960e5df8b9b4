#!/usr/bin/env python3
"""Run a grid of fairseq-train commands from a YAML file, and write tables and plots of the results.

    python scripts/sweep.py examples/char_lm/grids/styles.yaml --data data/styles -o checkpoints/styles
    python scripts/sweep.py GRID.yaml -o DIR --dry-run                    # print the commands, run nothing
    python scripts/sweep.py GRID.yaml -o DIR -- --cpu --max-update 100    # more arguments for every run

Every run has a folder DIR/runs/NAME with its command (run.json), its log and its checkpoints. Running the same command
again skips finished runs and resumes interrupted ones from their last checkpoint. It writes results.json,
results.csv, results.md, curves.png and, for two axes of numbers, a heat map.
The format of the YAML file is described in plugins/analysis/runs/grids.py.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import command
import job_options


def parse(arguments):
    more = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("grid", type=Path, metavar="GRID.yaml", help="grid of runs")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for runs and results")
    add("--data", metavar="PATH", help="value of {data} in the grid")
    add("--seeds", type=int, nargs="+", help="other seeds than the grid's")
    add("--force", action="store_true", help="replace runs whose command has changed, deleting their files")
    add("--dry-run", action="store_true", help="only print the commands")
    job_options.add(parser, job_options.cores(), "the cores, %(default)s here")
    return parser.parse_args(arguments), more


def job_of(run):
    """Return the job of a run of the grid."""
    from plugins.jobs import Job

    words = ("fairseq-train", *run.arguments, "--seed", str(run.seed), "--log-format", "json")
    return Job(run.name, words, run.updates, {"command": list(run.arguments)}, log="log")


def log_of(folder):
    from plugins.analysis.runs import logs as training_logs

    with (folder / "log").open(encoding="utf-8", errors="replace") as lines:
        lines = list(lines)
    count = training_logs.count_parameters
    return training_logs.read_log(lines), count(lines), count(lines, trained=True)


def report(grid, done, args):
    """Write the tables and the drawings of finished runs [(run, folder)]."""
    from plugins.analysis.runs import grids
    from plugins.files import write_json, write_text

    logs = [(run, *log_of(folder)) for run, folder in done]
    results = [(run, grids.numbers(*of_run)) for run, *of_run in logs]
    cells = grids.aggregate(results)
    about = {"grid": str(args.grid), "command": shlex.join(["scripts/sweep.py", *args.asked]), "jobs": args.jobs,
             "threads": args.threads, "cores": os.cpu_count()}  # fmt: skip
    write_json(args.output / "results.json", about | {"cells": grids.without_nan(cells)}, indent=1)
    write_text(args.output / "results.csv", grids.csv(results, grid.axes))
    table = grids.markdown(cells, grid.axes, grid.columns)
    write_text(args.output / "results.md", table)
    print(table, end="")
    draw(grid, logs, cells, args.output)
    print(f"results and drawings are in {args.output}")


def draw(grid, logs, cells, folder):
    """Draw validation loss against updates, and heat maps where two axes have numbers."""
    import math

    from plugins.analysis import plots
    from plugins.analysis.runs import curves as runs
    from plugins.analysis.runs import grids

    points = {}  # (updates, nats) of each seed, by cell
    for run, records, *_ in logs:
        updates, bits = runs.curve(records, "loss")
        points.setdefault(run.title, []).append((updates, bits * math.log(2)))
    curves = {title: runs.average(of_seeds) for title, of_seeds in points.items()}
    loss = "validation loss (nats per token)"
    several = any(len(of_seeds) > 1 for of_seeds in points.values())
    title = f"{grid.title}: mean and standard error over seeds" if several else grid.title
    plots.bands(folder / "curves.png", curves, title, loss)
    maps, names = grids.matrices(cells, grid.axes)
    for others, (values, rows, columns) in maps.items():
        name = "heat_map" + (f"_{others}" if others else "").replace(" ", "_").replace("/", "_")
        plots.heat_map(folder / f"{name}.png", values, rows, columns, f"{grid.title} {others}: best {loss}", names)


def main():
    args, more = parse(sys.argv[1:])
    args.asked = sys.argv[1:]
    command.check_inputs([args.grid])
    command.check_outputs(folders=[args.output])
    from plugins.analysis.runs import grids
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read
    from plugins.jobs import Runner

    report_in_one_line()
    written = [args.output / name for name in ("results.json", "results.csv", "results.md", "curves.png")]
    check_not_read([args.output, *written], [args.grid, args.data])
    grid = grids.read_grid(args.grid, args.data, more, args.seeds)
    jobs, folder = [job_of(run) for run in grid.runs], args.output / "runs"
    if args.dry_run:
        for job in jobs:
            print(shlex.join(job.command_in(folder / job.name)))
        return
    changed = "redo" if args.force else "refuse"
    with Runner(folder, job_options.resources(args), changed=changed) as runner:
        print(f"{len(jobs)} runs, {len(runner.done(jobs))} of them done already", flush=True)
        runner.run(jobs)
    report(grid, [(run, folder / run.name) for run in grid.runs], args)


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
