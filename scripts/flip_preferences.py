#!/usr/bin/env python3
"""Reverse a fraction of the comparisons to study label errors: random, the clearest, or the closest ones.

    python scripts/flip_preferences.py ratings.jsonl --share 0.2 --which largest -o flipped.jsonl
    python scripts/flip_preferences.py pairs.jsonl --share 0.2 --which model --checkpoint rm.pt -o flipped.jsonl

DATA has the columns of --task preference: comparisons, or ratings, from which comparisons are made. The clarity of
a comparison is the difference of two ratings, else its margin; with ``--which model`` the difference of a model's
scores, of which the largest are reversed. Written are ``chosen``, ``rejected``, ``margin``, ``weight`` and ``flipped``.
"""

import argparse

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", metavar="DATA", help="file of comparisons or ratings")
    add("--share", type=float, required=True, metavar="X", help="fraction of the comparisons, from 0 to 1")
    add("--which", choices=["random", "largest", "smallest", "model"], default="random", help="(%(default)s)")
    add("--checkpoint", metavar="CKPT", help="model of --task preference, for --which model")
    add(
        "--min-gap",
        type=float,
        default=0.5,
        metavar="X",
        help="minimum difference of two ratings to compare (%(default)s)",
    )
    add(
        "--pairs-per-text", type=flags.positive, default=4, metavar="N", help="comparisons per rated text (%(default)s)"
    )
    flags.add_seed(parser)
    flags.add_output(parser, "FILE", "output file, .jsonl")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if (args.which == "model") != bool(args.checkpoint):
        parser.error("--which model and --checkpoint CKPT must be given together")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.data], checkpoints=[args.checkpoint])
    command.check_outputs([args.output])
    import numpy as np

    from plugins import user_dir
    from plugins.data.preference import flips
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read

    report_in_one_line()
    check_not_read([args.output], [args.data, args.checkpoint])
    if args.output.suffix.lower() in (".csv", ".tsv"):  # it would be read as a table, by its name
        raise UserError(f"-o {args.output}: JSON lines are written; name a .jsonl file")
    user_dir.load(args.user_dir)
    found, pairs, gaps = flips.comparisons(args.data, args.min_gap, args.pairs_per_text, args.seed)
    if args.which in ("largest", "smallest") and not np.ptp(gaps):
        raise UserError(f"{args.data}: --which {args.which} needs ratings, or margins, that differ")
    which = args.which
    if which == "model":
        from plugins.hub import Scorer

        scores = Scorer.from_pretrained(args.checkpoint).score(found.texts)
        which, gaps = "largest", scores[pairs[:, 0]] - scores[pairs[:, 1]]
    flipped = flips.reversed_pairs(gaps, args.share, which, args.seed)
    flips.write(args.output, found, pairs, flipped)
    print(f"written: {args.output} ({len(pairs):,} comparisons, {int(flipped.sum()):,} reversed)")


if __name__ == "__main__":
    command.run(main)
