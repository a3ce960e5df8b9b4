#!/usr/bin/env python3
"""Plant wrong labels in a small task, diagnose it, and count how many are at the top of the list of likely errors.

    python scripts/demo_diagnose.py

The task is that of scripts/demo_glue.py (is a sentence as it was written, or are its words shuffled?) with 5 % of the
labels made wrong, the model the best of scripts/demo_mlm.py if that has run, else checkpoints/zero_clap_tiny.
"""

import argparse
import sys
from pathlib import Path

import command
import demo_glue
import flags

ROOT = Path(__file__).resolve().parents[1]
FIRST = 100


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--checkpoint", metavar="CKPT", help="pretrained model, file or folder (default: the best of "
        f"{demo_glue.DEMO}, else {demo_glue.SHIPPED})")  # fmt: skip
    add("--rows", type=flags.positive, default=demo_glue.TRAIN, metavar="N", help="training rows (%(default)s)")
    add("--share", type=float, default=0.05, metavar="X", help="fraction of labels to make wrong (%(default)s)")
    add("--folds", type=int, default=3, metavar="N", help="(%(default)s)")
    flags.add_seeds(parser, [1, 2])
    add("--epochs", type=flags.positive, default=4, metavar="N", help="(%(default)s)")
    add(
        "--pretrain-updates",
        type=flags.positive,
        metavar="N",
        help=f"pretrain for this many updates instead of using {demo_glue.SHIPPED}",
    )
    add("--jobs", type=flags.processes, metavar="N", help="runs at a time (default: what cores and memory allow)")
    flags.add_output(parser, "DIR", "folder to write", "checkpoints/diagnose-demo")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if not 0 < args.share <= 0.5:
        parser.error(f"--share must be above 0 and at most 0.5, but is {args.share}")
    return args


def main():
    args = parse_args()
    command.check_inputs(checkpoints=[args.checkpoint])
    command.check_outputs(folders=[args.output])
    sys.path.insert(0, str(ROOT))
    checkpoint = args.checkpoint or demo_glue.pretrained(args)
    task = args.output / "word-order-data"
    demo_glue.make_task(task)
    planted = plant(task / "train.tsv", args.output / "train.tsv", args.rows, args.share)
    words = ["--data", args.output / "train.tsv", "--checkpoint", checkpoint, "--folds", args.folds, "--seeds",
             *args.seeds, "--epochs", args.epochs, "--lr", "5e-4", "--batch-size", 32, "--options=--clip-norm=1",
             "-o", args.output]  # fmt: skip
    words += ["--jobs", args.jobs] if args.jobs else []
    words += ["--user-dir", args.user_dir] if args.user_dir else []
    errors = args.output / "errors"
    for script, arguments in (("diagnose.py", words), ("find_label_errors.py", [args.output, "-o", errors])):
        status = demo_glue.run(script, list(map(str, arguments)))
        if status:
            return status
    print(counted(errors / "errors.csv", planted))
    return 0


def plant(source, target, count, share):
    """Write the first rows of a task with some labels made wrong, and return the numbers of those rows."""
    import numpy as np

    from plugins.diagnostics import datasets, planting
    from plugins.files import write_text

    rows = datasets.read_files([source])
    rows = rows.take(np.arange(min(count, len(rows))))
    given = planting.plant(rows.labels, 2, "uniform", share, seed=1)
    lines = (f"{rows.classes[k]}\t{text}\n" for k, text in zip(given.tolist(), rows.texts[0], strict=True))
    write_text(target, "label\tsentence\n" + "".join(lines))
    return set(np.flatnonzero(given != rows.labels).tolist())


def counted(path, planted):
    """Return in one line how many of the first rows of the list are planted errors."""
    from plugins.diagnostics import label_errors

    listed = [int(row) for row in label_errors.read_table(path, ("row",))["row"]]
    found = len(planted & set(listed[:FIRST]))
    chance = FIRST * len(planted) / len(listed)
    return (f"the first {FIRST} of {len(listed):,} rows of {path} contain {found} of the {len(planted)} planted errors "
            f"(a random order: {chance:.0f})")  # fmt: skip


if __name__ == "__main__":
    command.run(main, "\ninterrupted; run the same command again to resume")
