#!/usr/bin/env python3
"""Write a report on a model as one HTML file: card, attention, surprise of each token, styles, masks, samples.

    python scripts/report.py checkpoints/nano --text data/shakespeare_char/valid.txt -o report.html
    python scripts/report.py checkpoints/demo/zero-clap --text FILE --mask "The <mask> of the <mask> ." -o report.html

The file is self-contained and opens from disk, without a network or a server. It shows the first passage of prose in
the text. Samples and answers are computed when it is written.
"""

import argparse
from pathlib import Path

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("--text", type=Path, required=True, metavar="FILE", help="text to read, in UTF-8")
    flags.add_output(parser, "FILE", "HTML file to write")
    add("--title", help="heading of the page (default: folder and name of the checkpoint)")
    add(
        "--tokens",
        type=flags.positive,
        default=64,
        metavar="N",
        help="tokens of the text to show; the file grows with their square (64)",
    )
    add("--pattern-texts", type=flags.natural, default=100, metavar="N", help="stretches of the text to read for the "
        "patterns of the heads; 0 omits them, and so does a tuned prompt (%(default)s)")  # fmt: skip
    add("--prompt", default="", metavar="TEXT", help="text that samples continue (default: a line break)")
    add("--temperatures", type=flags.not_negative, nargs="+", default=[0.2, 0.5, 0.8, 1.0, 1.2], metavar="X",
        help="of samples (0.2 0.5 0.8 1 1.2)")  # fmt: skip
    add("--sample-length", type=flags.natural, default=400, metavar="N", help="tokens per sample, characters of a "
        "character LM; 0: none (%(default)s)")  # fmt: skip
    flags.add_seed(parser, of=" of samples and intervals")
    add("--mask", action="append", default=[], metavar="SENTENCE", help="sentence with <mask> for a masked LM to fill; "
        "may be repeated (default: words of the text are masked)")  # fmt: skip
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.text], checkpoints=[args.checkpoint])
    command.check_outputs([args.output])
    from plugins import checkpoints, files, hub, user_dir
    from plugins.analysis.report import contents, page
    from plugins.data.text import records
    from plugins.errors import report_in_one_line
    from plugins.hub import language_model_of

    report_in_one_line()
    user_dir.load(args.user_dir)
    files.check_not_read([args.output], [args.text, args.checkpoint])
    records.check_plain(args.text)
    text = files.read_text(args.text)
    path = Path(hub.find_checkpoint(args.checkpoint))
    lm = language_model_of(hub.load(str(path)), path)
    title = args.title or f"{path.resolve().parent.name}/{path.name}"
    report = contents.gather(
        lm, checkpoints.read_state(str(path)), title, text, source=str(args.text), tokens=args.tokens,
        pattern_texts=args.pattern_texts, prompt=args.prompt, temperatures=args.temperatures,
        length=args.sample_length, seed=args.seed, masked=args.mask,
    )  # fmt: skip
    files.write_text(args.output, page.render(report))
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    command.run(main)
