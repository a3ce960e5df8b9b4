#!/usr/bin/env python3
"""Show how much each token of a text surprises a language model, and what the model expected instead.

    python scripts/surprise.py checkpoints/nano "What say you, my lord?" -o surprise.png
    python scripts/surprise.py checkpoints/demo/zero-clap FILE:text.txt --tokens 40 --choices 3 -o surprise.svg

Each row of the figure has a token, its surprisal (-log2 of its probability, in bits) as a bar, its probability, and the
model's first choices with theirs. Causal models predict a token from those before it; a masked LM reads all the others,
with each token masked in turn. Of a longer text, the first --tokens are shown.
"""

import argparse
from pathlib import Path

import command
import flags
import reading

MOST_TOKENS, MOST_CHOICES = 256, 20  # rows and columns of a readable figure


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("text", metavar="TEXT", help="the text, or FILE:text.txt")
    add("--tokens", type=int, default=32, metavar="N", help="tokens to show, from the start (%(default)s)")
    add("--choices", type=int, default=5, metavar="K", help="first choices of the model to show (%(default)s)")
    reading.add_output(parser, "surprise.png", "the numbers")
    args = parser.parse_args(argv)
    if not (2 <= args.tokens <= MOST_TOKENS and 1 <= args.choices <= MOST_CHOICES):
        parser.error(f"--tokens is 2 to {MOST_TOKENS} and --choices 1 to {MOST_CHOICES}, which fit the figure")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    reading.check(args)
    from plugins.analysis import surprise
    from plugins.analysis.metrics.surprisal import surprisal
    from plugins.analysis.report.passage import excerpt
    from plugins.errors import check, located, report_in_one_line
    from plugins.files import write_json

    report_in_one_line()
    lm, text = reading.opened(args)
    source = command.file_named(args.text) or "TEXT"
    check(text.strip(), f"{source}: no text")
    with located(source):
        part = excerpt(lm, text.strip("\n\r"), args.tokens)
    found = surprise.numbers(lm, surprisal(lm, part, args.choices))
    surprise.draw(args.output, found, f"Which tokens surprise {Path(args.checkpoint).name}?")
    known = [(bits, token) for bits, token in zip(found["bits"], found["tokens"], strict=True) if bits is not None]
    bits, token = max(known)
    print(f"mean: {found['mean']} The largest surprise is {token!r}, {bits:.1f} bits")
    print(f"figure: {args.output}")
    if args.json:
        write_json(args.json, {"checkpoint": args.checkpoint, **found}, indent=1)
        print(f"numbers: {args.json}")


if __name__ == "__main__":
    command.run(main)
