#!/usr/bin/env python3
"""Evaluate models on inputs longer than those in training: loss by length, position and context.

    python scripts/long_context.py checkpoints/alibi checkpoints/rotary --text valid.txt -o long
    python scripts/long_context.py checkpoints/rotary --text valid.txt --scaling none linear ntk dynamic yarn -o long

DIR/long_context.json contains all results, DIR/long_context.png plots the losses with 95 % bootstrap intervals. Lengths
such as 4x are multiples of each model's training length. Nonoverlapping windows include early tokens, which have little
context; sliding windows predict the same tokens at every length, each with a full window of context (Press et al.,
2022, appendix B).
"""

import argparse
import sys
from pathlib import Path

import choices
import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoints", metavar="CKPT", nargs="+",
        help="checkpoint or its folder; NAME=CKPT names it; checkpoints with the same name are pooled")  # fmt: skip
    add("--text", required=True, type=Path, metavar="FILE", help="evaluation text, in UTF-8")
    add("--lengths", nargs="+", default=["1x", "2x", "4x", "8x", "16x"], metavar="L",
        help="lengths in tokens, or as multiples of the training length (1x 2x 4x 8x 16x)")  # fmt: skip
    add("--windows", type=int, default=32, metavar="N", help="maximum windows of the longest length (%(default)s)")
    add("--stride", type=int, default=32, metavar="N", help="tokens predicted in each sliding window (%(default)s)")
    add("--scaling", nargs="+", default=["none"], metavar="KIND",
        help="scale positions by length / training length: none, linear, ntk, dynamic, yarn (none)")  # fmt: skip
    add("--mask-prob", type=float, default=0.15, metavar="P", help="masked fraction, masked LMs (%(default)s)")
    flags.add_seed(parser, of=" of the masks")
    add("--pool", nargs="+", type=Path, default=[], metavar="JSON",
        help="long_context.json of other runs (same text and settings): pool models of the same name")  # fmt: skip
    flags.add_device(parser)
    flags.add_output(parser, "DIR", "output folder")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if min(args.windows, args.stride) < 1 or not 0 < args.mask_prob < 1:
        parser.error("--windows and --stride are at least 1, --mask-prob is between 0 and 1")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    checkpoints = [path.split("=", 1)[-1] for path in args.checkpoints]
    command.check_inputs([args.text, *args.pool], checkpoints=checkpoints)
    command.check_outputs(folders=[args.output])
    command.check_names(args.scaling, choices.SCALINGS, "--scaling")
    import plugins.hub  # seconds, so not before the arguments are checked
    from plugins import user_dir
    from plugins.analysis.long_context.run import run
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read
    from plugins.hub import language_model_of
    from plugins.hub.devices import move

    report_in_one_line()
    written = [args.output / name for name in ("long_context.json", "long_context.png")]
    check_not_read([args.output, *written], [args.text, *args.pool, *checkpoints])
    user_dir.load(args.user_dir)

    def load(path: str):
        lm = language_model_of(plugins.hub.load(path), path)
        move(lm.model, args.device)
        return lm

    settings = {name: getattr(args, name) for name in ("windows", "stride", "mask_prob", "seed")}
    bar = sys.stderr.isatty()
    print(run(load, args.checkpoints, args.text, args.lengths, args.scaling, args.output, earlier=args.pool, bar=bar,
              **settings))  # fmt: skip


if __name__ == "__main__":
    command.run(main)
