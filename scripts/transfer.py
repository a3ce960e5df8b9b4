#!/usr/bin/env python3
"""Transfer between tasks: task embeddings, training-free scores, and with --matrix the true gains.

    python scripts/transfer.py glue --tasks CoLA RTE MRPC --checkpoint checkpoints/mlm -o transfer
    python scripts/transfer.py glue --tasks CoLA RTE --checkpoint checkpoints/mlm --matrix --sizes full 1000 -o transfer

Written: ``task_embeddings.npz`` (TextEmb and TaskEmb of each task), ``similarity.csv`` (source, target, method, score,
rank), ``features.csv`` (LogME, H-score, linear V-information, kNN of the checkpoint's features for each task),
``similarity.png``, and ``map.png``. --matrix fine-tunes every target from every source: ``transfer.csv`` (source,
target, size, seed, score, collapsed, gain), ``gains.md``, ``gains-SIZE.png``, and ``judgment.csv``: how the methods,
the largest source and chance rank the sources. TaskEmb is computed on single rows, with a linear head on frozen
features, and does not depend on a batch size.
"""

import argparse

import command
import flags
import job_options

WRITTEN = ("task_embeddings.npz", "similarity.csv", "similarity.png", "map.png", "features.csv", "transfer.csv",
           "gains.md", "judgment.csv")  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", metavar="GLUE", help="folder with a folder for each task")
    add("--tasks", nargs="+", required=True, metavar="TASK", help="GLUE tasks with classes, or their YAML files")
    add("--checkpoint", required=True, metavar="CKPT", help="masked LM")
    add("--rows", type=flags.positive, default=500, metavar="N", help="rows of each task for its embedding "
        "(%(default)s)")  # fmt: skip
    add("--matrix", action="store_true", help="fine-tune every target from every source too")
    add("--sizes", nargs="+", default=["full"], metavar="N", help="training rows of targets: full, or numbers (full)")
    job_options.add_runs(parser, 500, 16, 1e-4, 3)
    flags.add_output(parser, "DIR", "folder of the results")
    job_options.add(parser, 1, "1")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if len(args.tasks) < 2:
        parser.error("--tasks: two tasks at least are compared")
    for size in args.sizes:
        if size != "full" and not (size.isdigit() and int(size) > 0):
            parser.error(f"--sizes {size}: full, or a number of rows")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    own = [name for name in args.tasks if name.endswith((".yaml", ".yml"))]
    command.check_inputs(own, [args.data], [args.checkpoint])
    command.check_outputs(folders=[args.output])
    command.check_tasks(args.tasks, "--tasks", args.data)
    import plugins.hub
    from plugins import user_dir
    from plugins.embeddings import transfer, transfer_study
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read

    report_in_one_line()
    check_not_read([args.output, *(args.output / name for name in WRITTEN)], [args.checkpoint, *own])
    user_dir.load(args.user_dir)
    tasks = {task.spec.name: task for task in (transfer.task_of(name, args.data) for name in args.tasks)}
    path = plugins.hub.find_checkpoint(args.checkpoint)
    embedder = plugins.hub.Embedder.from_pretrained(path)
    prediction = transfer_study.predict(embedder, tasks, args.rows)
    for row in prediction.similar:
        print(f"{row['method']:22} {row['source']:>8} -> {row['target']:8} {row['score']:.4f}  rank {row['rank']}")
    if args.matrix:
        print(transfer_study.measure(
            tasks, prediction.similar, args.output, sizes=args.sizes, seeds=args.seeds, checkpoint=path,
            options=options(args), updates=args.updates, resources=job_options.resources(args),
        ))  # fmt: skip
    prediction.write(args.output)  # after the runs, which are refused if the folder has those of other data
    print(f"written: {args.output}")


def options(args: argparse.Namespace) -> list:
    """Return the options that all runs share."""
    import torch

    from plugins import checkpoints, user_dir

    path = checkpoints.find_checkpoint(args.checkpoint)
    arch = checkpoints.architecture(checkpoints.read_state(path), path)
    return [
        "--user-dir", user_dir.for_runs(), "--task", "glue", "--criterion", "glue", "--arch", arch,
        "--batch-size", args.batch_size, "--optimizer", "fused_adamw", "--lr", args.lr, "--clip-norm", 1,
        "--lr-scheduler", "polynomial_decay", "--total-num-update", args.updates, "--warmup-updates",
        max(1, args.updates // 10), "--num-workers", 0, "--no-epoch-checkpoints", "--no-save-optimizer-state",
        "--disable-validation", "--log-format", "simple", "--log-interval", 50,
        *([] if torch.cuda.is_available() else ["--cpu"]),
    ]  # fmt: skip


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
