#!/usr/bin/env python3
"""Run a grid of fairseq-train commands from a YAML file, and write tables and plots of the results.

    python scripts/sweep.py examples/char_lm/grids/styles.yaml --data data/styles -o checkpoints/styles
    python scripts/sweep.py GRID.yaml -o DIR --dry-run                    # print the commands, run nothing
    python scripts/sweep.py GRID.yaml -o DIR -- --cpu --max-update 100    # more arguments for every run

Every run has a folder DIR/runs/NAME with its command (run.json), its log and its checkpoints. Running the same command
again skips finished runs and resumes interrupted ones from their last checkpoint; runs of other data or of another
checkpoint to start from are refused. It writes results.json, results.csv, results.md, curves.png and, for two axes of
numbers, a heat map.
The format of the YAML file is described in plugins/analysis/runs/grids.py.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import command
import flags
import job_options


def parse(arguments):
    more = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("grid", type=Path, metavar="GRID.yaml", help="grid of runs")
    flags.add_output(parser, "DIR", "folder for runs and results")
    add("--data", metavar="PATH", help="value of {data} in the grid")
    add("--seeds", type=flags.seed, nargs="+", help="seeds in place of the grid's")
    add("--force", action="store_true", help="delete and repeat runs whose command or files have changed")
    add("--dry-run", action="store_true", help="only print the commands")
    job_options.add(parser, job_options.cores(), "the cores, %(default)s here")
    return parser.parse_args(arguments), more


def job_of(run, files=None):
    """Return the job of a run of the grid, which reads files with these digests."""
    from plugins.jobs import Job

    words = ("fairseq-train", *run.arguments, "--seed", str(run.seed), "--log-format", "json")
    return Job(run.name, words, run.updates, {"command": list(run.arguments), "files": files}, log="log")


def main():
    args, more = parse(sys.argv[1:])
    command.check_inputs([args.grid])
    command.check_outputs(folders=[args.output])
    from plugins.analysis.runs import grid_report, grids
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, staging
    from plugins.jobs import Runner, of_commands

    report_in_one_line()
    written = [args.output / name for name in grid_report.OUTPUTS]
    check_not_read([args.output, *written], [args.grid, args.data])
    grid = grids.read_grid(args.grid, args.data, more, args.seeds)
    folder = args.output / "runs"
    if args.dry_run:
        for job in map(job_of, grid.runs):
            print(shlex.join(job.command_in(folder / job.name)))
        return
    files = of_commands([run.arguments for run in grid.runs], [args.output, folder, *written])
    jobs = list(map(job_of, grid.runs, files))
    changed = "redo" if args.force else "refuse"
    with Runner(folder, job_options.resources(args), changed=changed, remedy="replace it with --force") as runner:
        print(f"{len(jobs)} runs, {len(runner.done(jobs))} of them done already", flush=True)
        runner.run(jobs)
    about = {"grid": str(args.grid), "command": shlex.join(["scripts/sweep.py", *sys.argv[1:]]), "jobs": args.jobs,
             "threads": args.threads, "cores": os.cpu_count()}  # fmt: skip
    with staging(args.output) as part:
        table = grid_report.write(grid, [(run, folder / run.name) for run in grid.runs], part, about)
    print(table, end="")
    print(f"results and drawings are in {args.output}")


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
