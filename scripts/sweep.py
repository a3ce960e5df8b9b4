#!/usr/bin/env python3
"""Run a grid of fairseq-train commands from a YAML file, and make tables and drawings of what comes out.

    python scripts/sweep.py examples/char_lm/grids/styles.yaml --data data/styles -o checkpoints/styles
    python scripts/sweep.py GRID.yaml -o DIR --dry-run                    # print the commands, run nothing
    python scripts/sweep.py GRID.yaml -o DIR -- --cpu --max-update 100    # more arguments for every run

Every run has a folder DIR/runs/NAME with its command (run.json), its log and its checkpoints. The same command again
goes on where the last one stopped: finished runs are kept, interrupted ones go on from their last checkpoint.
It writes results.json, results.csv, results.md, curves.png and, for two axes of numbers, a heat map.
plugins/analysis/runs/grids.py says what the YAML holds.
"""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path


def parse(arguments):
    more = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("grid", type=Path, metavar="GRID.yaml", help="what to run")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for runs and results")
    add("--data", metavar="PATH", help="what {data} in the grid stands for")
    add("--seeds", type=int, nargs="+", help="other seeds than the grid's")
    add("--jobs", type=int, default=os.cpu_count(), help="runs at a time (default: the cores, %(default)s here)")
    add("--threads", type=int, default=1, help="CPU threads of each run (default: %(default)s)")
    add("--force", action="store_true", help="do runs again whose command has changed, deleting what they made")
    add("--dry-run", action="store_true", help="print the commands and do nothing")
    args = parser.parse_args(arguments)
    if args.jobs < 1 or args.threads < 1:
        parser.error("--jobs and --threads are at least 1")
    return args, more


def command(run, folder):
    """Return the arguments of a run of ``fairseq-train``."""
    ours = ["--seed", str(run.seed), "--save-dir", str(folder), "--log-format", "json"]
    return [*run.arguments, *ours]


def state_of(folder):
    """Return what ``run.json`` says, or None for a run that was never started."""
    from plugins.files import read_json_if_any

    return read_json_if_any(folder / "run.json") or None


def prepare(run, folder, force):
    """Make a run's folder; return False if it is finished.

    Raises:
        UserError: it holds another command's run, or one that is still going.
    """
    from plugins.errors import UserError
    from plugins.files import make_folder, write_json
    from plugins.jobs import launch

    launch.check_ended(folder / "log")
    state = state_of(folder)
    if state is not None and state["command"] != list(run.arguments):
        if not force:
            raise UserError(f"{folder} holds a run of another command: name another -o, or do it again with --force")
        shutil.rmtree(folder)
        state = None
    if state is not None and state["finished"]:
        return False
    make_folder(folder)
    write_json(folder / "run.json", {"command": list(run.arguments), "finished": False})
    return True


def train(run, folder, threads, devices):
    """Do what is left of a run, on a device that is free."""
    from plugins.files import write_json
    from plugins.jobs import launch

    if not launch.resumable(folder):  # it starts afresh, and so does its log
        (folder / "log").unlink(missing_ok=True)
        (folder / "checkpoint_last.pt").unlink(missing_ok=True)  # half of one
    device = devices.get()
    try:
        launch.fairseq_train(
            command(run, folder), folder / "log", title=run.name, updates=run.updates, threads=threads, device=device
        )
    finally:
        devices.put(device)
    write_json(folder / "run.json", {"command": list(run.arguments), "finished": True})


def train_all(todo, args):
    """Do the runs, ``--jobs`` at a time. The first error, or Ctrl-C, ends those that are going."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    from tqdm import tqdm

    from plugins.jobs import launch

    with ThreadPoolExecutor(args.jobs) as pool:
        devices = launch.devices(args.jobs)
        futures = [pool.submit(train, run, folder, args.threads, devices) for run, folder in todo]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), unit="run", desc="sweep", disable=None):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            launch.stop_all()
            raise


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
    loss = "validation loss (nats a token)"
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
    from plugins.analysis.runs import grids
    from plugins.errors import report_in_one_line

    report_in_one_line()
    grid = grids.read_grid(args.grid, args.data, more, args.seeds)
    folders = [(run, args.output / "runs" / run.name) for run in grid.runs]
    if args.dry_run:
        for run, folder in folders:
            print(shlex.join(["fairseq-train", *command(run, folder)]))
        return
    todo = [(run, folder) for run, folder in folders if prepare(run, folder, args.force)]
    print(f"{len(folders)} runs, {len(folders) - len(todo)} of them done already")
    try:
        train_all(todo, args)
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")
    report(grid, folders, args)


if __name__ == "__main__":
    main()
