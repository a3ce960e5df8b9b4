#!/usr/bin/env python3
"""Fine-tune several models with several recipes and count the runs that end at the majority class.

    python scripts/demo_mlm.py --updates 3000 -o checkpoints/demo
    python scripts/glue_collapse.py --glue-dir GLUE --models checkpoints/demo -o checkpoints/collapse

Each cell is one call of scripts/run_glue.py with a recipe of examples/glue/recipes; its tables are in
OUTPUT/MODEL/RECIPE. Finished runs are skipped. The bias of ALiBi to <s> is fixed in pretraining: to compare it,
pretrain with --alibi-bos zero or learned and add that folder to --models.
"""

import argparse
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import command

RECIPES = command.shipped("examples/glue/recipes")


def parse_args(argv=None):
    """Parse the command line."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    add("--glue-dir", required=True, metavar="DIR", help="folder with CoLA/, MRPC/ and RTE/")
    add("--models", nargs="+", required=True, metavar="DIR", help="folders that contain MODEL/checkpoint_best.pt")
    add("--recipes", nargs="+", default=names, choices=names, metavar="NAME", help=f"among {', '.join(names)}")
    add("--tasks", nargs="+", default=["CoLA", "RTE", "MRPC"], metavar="TASK", help="(default: CoLA RTE MRPC)")
    add(
        "--options",
        nargs=argparse.REMAINDER,
        default=[],
        help="more options of run_glue.py, for example --seeds 1; must be the last option",
    )
    add("-o", "--output", required=True, metavar="DIR", help="folder to write")
    return parser.parse_args(argv)


def main():
    args = parse_args()
    command.check_inputs(paths=[args.glue_dir, *args.models])
    command.check_outputs(folders=[args.output])
    command.check_tasks(args.tasks, "--tasks", args.glue_dir)
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, read_json, staging, write_json, write_text

    report_in_one_line()
    checkpoints = {p.parent.name: p for d in args.models for p in sorted(Path(d).glob("*/checkpoint_best.pt"))}
    if not checkpoints:
        command.stop(f"{', '.join(args.models)}: contains no MODEL/checkpoint_best.pt")
    written = [Path(args.output, name) for name in ("collapse.md", "collapse.json")]
    check_not_read([args.output, *written], checkpoints.values())
    rows = []
    for recipe in args.recipes:
        for model, checkpoint in checkpoints.items():
            folder = Path(args.output) / model / recipe
            words = [sys.executable, str(Path(__file__).with_name("run_glue.py")), "--glue-dir", args.glue_dir,
                     "--checkpoint", str(checkpoint), "--tasks", *args.tasks, "--config",
                     str(RECIPES / f"{recipe}.yaml"), "--output", str(folder), *args.options]  # fmt: skip
            print(f"{model}, {recipe}", flush=True)
            if subprocess.run(words, stdout=subprocess.DEVNULL).returncode:
                command.stop(f"{model}, {recipe} failed")
            rows += summarized(read_json(folder / "results.json", dict), model, recipe)
    text = table(rows)
    with staging(args.output) as folder:
        write_text(folder / "collapse.md", text + "\n")
        write_json(folder / "collapse.json", rows, indent=1)
    print(text)


def summarized(results, model, recipe):
    """Return one row per task and learning rate: median and range of the score over seeds, and the failed runs."""
    grouped = defaultdict(list)
    for run in results["runs"]:
        grouped[run["task"], run["lr"]].append(run)
    return [
        {
            "model": model, "recipe": recipe, "task": task, "lr": lr, "perplexity": results["perplexity"],
            "accuracy": [run["valid"]["valid"]["accuracy"] for run in runs],
            "majority": runs[0]["baseline"]["valid"]["accuracy"], "failed": sum(run["collapsed"] for run in runs),
            "seeds": [run["seed"] for run in runs],
        }
        for (task, lr), runs in grouped.items()
    ]  # fmt: skip


def table(rows):
    """Return the rows as a Markdown table, accuracies in percent."""
    from plugins import tables

    lines = []
    for r in rows:
        values = [100 * value for value in r["accuracy"]]
        accuracies = [f"{statistics.median(values):.1f}", f"{min(values):.1f}-{max(values):.1f}"]
        rest = [f"{100 * r['majority']:.1f}", f"{r['failed']}/{len(values)}"]
        lines.append([r["recipe"], r["model"], r["task"], f"{r['lr']:g}", *accuracies, *rest])
    head = ("recipe", "model", "task", "lr", "accuracy, median", "range", "majority", "failed runs")
    return tables.markdown(head, lines)


if __name__ == "__main__":
    command.run(main)
