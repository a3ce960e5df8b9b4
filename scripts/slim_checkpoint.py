#!/usr/bin/env python3
"""Write a checkpoint for sharing: a third of the size, without the optimizer state and without paths.

    python scripts/slim_checkpoint.py checkpoints/demo/zero-clap -o checkpoints/mine/checkpoint_best.pt

It is used and fine-tuned like the original, but training cannot be resumed from it. Its tokenizer is copied next to it.
"""

import argparse
import os

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("-o", "--output", required=True, metavar="FILE", help="the .pt file to write")
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(checkpoints=[args.checkpoint])
    command.check_outputs([args.output])
    command.announce("reading", args.checkpoint)
    from plugins import user_dir
    from plugins.errors import report_in_one_line
    from plugins.hub import sharing

    report_in_one_line()
    user_dir.load(args.user_dir)
    sharing.slim(args.checkpoint, args.output)
    print(f"{args.output}: {os.path.getsize(args.output) / 1e6:.1f} MB")


if __name__ == "__main__":
    command.run(main, "interrupted")
