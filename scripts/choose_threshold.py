#!/usr/bin/env python3
"""Choose the score above which a text is accepted, with an interval, and store it in the checkpoint.

    python scripts/choose_threshold.py checkpoints/rm valid.jsonl --metric f1 --test test.jsonl
    python scripts/choose_threshold.py checkpoints/rm valid.csv --metric precision_at_recall --recall 0.9

The files have the columns text and score, in which score is 1 for a text to accept and 0 for others. The threshold is
the middle of the best range on the first file; its interval is a bootstrap of the whole selection; --test is scored
once. ``plugins.hub.load(CKPT).decide(texts)`` uses it.
"""

import argparse

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint of --task preference")
    add("data", metavar="FILE", help="validation texts with their class as score, 1 or 0")
    add("--test", metavar="FILE", help="texts on which the threshold is scored once")
    add("--metric", choices=["f1", "mcc", "precision_at_recall", "cost"], default="f1", help="(%(default)s)")
    add("--recall", type=flags.fraction, metavar="X", help="minimum recall for precision_at_recall (0.9)")
    add(
        "--costs",
        type=float,
        nargs=2,
        metavar=("FP", "FN"),
        help="costs of a false positive and a false negative (1 1)",
    )
    add(
        "--resamples",
        type=flags.positive,
        default=1000,
        metavar="N",
        help="number of bootstrap resamples (%(default)s)",
    )
    add("--dry-run", action="store_true", help="do not store the threshold")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if args.recall is not None and args.metric != "precision_at_recall":
        parser.error("--recall is an option of --metric precision_at_recall")
    if args.costs and args.metric != "cost":
        parser.error("--costs is an option of --metric cost")
    if args.costs and not all(0 <= cost < float("inf") for cost in args.costs):
        parser.error(f"--costs {args.costs[0]:g} {args.costs[1]:g}: costs are finite and not negative")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.data, args.test], checkpoints=[args.checkpoint])
    from plugins import user_dir
    from plugins.analysis.metrics import thresholds
    from plugins.checkpoints import find_checkpoint
    from plugins.embeddings.deployment import labeled_scores, store_threshold
    from plugins.errors import report_in_one_line
    from plugins.files import check_distinct
    from plugins.hub import Scorer

    report_in_one_line()
    check_distinct({"FILE": args.data, "--test": args.test})
    user_dir.load(args.user_dir)
    path = find_checkpoint(args.checkpoint)
    scorer = Scorer.from_pretrained(path)
    options = {"recall": args.recall or 0.9} if args.metric == "precision_at_recall" else {}
    options |= {"costs": tuple(args.costs)} if args.costs else {}
    scores, labels = labeled_scores(scorer, args.data, both=True)
    threshold, value = thresholds.choose(scores, labels, args.metric, **options)
    found = thresholds.interval(scores, labels, args.metric, args.resamples, **options)
    slope, shift = thresholds.platt(scores, labels)
    (low, high), (worst, best) = found["threshold"], found["value"]
    print(f"threshold {threshold:.4f} [{low:.4f}, {high:.4f}]   {args.metric} {value:.4f} [{worst:.4f}, {best:.4f}]")
    print(f"P(accept) = sigmoid({slope:.4f} * score {shift:+.4f})")
    if args.test:
        value = thresholds.at(*labeled_scores(scorer, args.test), threshold, args.metric, **options)
        print(f"on {args.test}: {args.metric} {value:.4f}")
    if not args.dry_run:
        platt = {"slope": slope, "shift": shift}
        store_threshold(path, {"threshold": threshold, "metric": args.metric, "low": low, "high": high, "platt": platt})
        print(f"stored in {path}")


if __name__ == "__main__":
    command.run(main)
