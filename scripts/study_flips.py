#!/usr/bin/env python3
"""Study reversed comparisons: train on data of which a share is reversed, and evaluate on clean comparisons.

    python scripts/study_flips.py train.jsonl --valid valid.jsonl --checkpoint checkpoints/mlm --seeds 3 -o flips

Comparisons are reversed at random, those with the largest gap of ratings first, or those with the smallest. A fourth
method reverses at random and trains with the corrected loss (--flip-rate of the share). Written: ``flips.csv`` (method,
share, seed, accuracy, scale, margin), ``table.md``, ``flips.png``: accuracy and scale against the share. Each run is a
fairseq-train; finished runs are not repeated.
"""

import argparse

import command
import flags
import job_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", metavar="DATA", help="file of ratings, or of comparisons with margins")
    add("--valid", required=True, metavar="FILE", help="another such file, whose comparisons stay clean")
    add("--checkpoint", required=True, metavar="CKPT", help="model to start from")
    add("--shares", nargs="+", type=float, default=[0.1, 0.2, 0.3, 0.4], metavar="X", help="(.1 .2 .3 .4)")
    add("--min-gap", type=float, default=0.5, metavar="X", help="smallest difference of compared ratings (%(default)s)")
    add("--pairs-per-text", type=flags.positive, default=4, metavar="N",
        help="comparisons sampled per rated text (%(default)s)")  # fmt: skip
    job_options.add_runs(parser, 100, 16, 1e-3, 3, items="comparisons", of="each method and share")
    flags.add_output(parser, "DIR", "folder of the runs and the results")
    job_options.add(parser, 1, "1")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    for share in args.shares:
        if not 0 <= share < 0.5:
            parser.error(f"--shares {share}: give shares of at least 0 and below 0.5")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.data, args.valid], checkpoints=[args.checkpoint])
    command.check_outputs(folders=[args.output])
    import plugins.hub
    from plugins import user_dir
    from plugins.checkpoints import architecture, read_state
    from plugins.embeddings import evaluation, flips
    from plugins.errors import report_in_one_line
    from plugins.files import check_distinct, check_not_read, staging, write_text
    from plugins.jobs import Runner, digest, exclusive

    report_in_one_line()
    written = [args.output / name for name in ("flips.csv", "table.md", "flips.png")]
    check_not_read([args.output, *written], [args.checkpoint, args.data, args.valid])
    check_distinct({"DATA": args.data, "--valid": args.valid})
    user_dir.load(args.user_dir)
    path = plugins.hub.find_checkpoint(args.checkpoint)
    common = [*options(args), "--arch", architecture(read_state(path), path), "--finetune-from-model", path]
    chosen, data = flips.cases(args.shares, args.seeds), args.output / "data"
    origin = [digest(args.data, args.valid, path), args.min_gap, args.pairs_per_text]
    jobs = [flips.job(case, data, common, args.updates, origin) for case in chosen]
    runs = args.output / "runs"
    with exclusive(runs), Runner(runs, job_options.resources(args)) as runner:
        runner.done(jobs)  # before the data of other runs are replaced
        flips.write_data(data, chosen, args.data, args.valid, args.min_gap, args.pairs_per_text)
        found = runner.run(jobs)
    rows = flips.records({case: found[job.name] for case, job in zip(chosen, jobs, strict=True)})
    with staging(args.output) as folder:
        evaluation.write_table(folder / "flips.csv", rows)
        write_text(folder / "table.md", flips.table(rows) + "\n")
        flips.draw(folder / "flips.png", rows)
    print(flips.table(rows))


def options(args: argparse.Namespace) -> list:
    """Return the options that all runs share."""
    import torch

    from plugins import user_dir

    return [
        "--user-dir", user_dir.for_runs(), "--task", "preference", "--criterion", "preference", "--batch-size",
        args.batch_size, "--optimizer", "fused_adamw", "--lr", args.lr, "--clip-norm", 1, "--num-workers", 0,
        "--no-epoch-checkpoints", "--no-save-optimizer-state", "--disable-validation", "--log-format", "simple",
        "--log-interval", 20, *([] if torch.cuda.is_available() else ["--cpu"]),
    ]  # fmt: skip


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
