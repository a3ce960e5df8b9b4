#!/usr/bin/env python3
"""Write what a model is, where its heads look and what it says into one HTML file, to be opened in a browser.

    python scripts/report.py checkpoints/nano --text data/shakespeare_char/valid.txt -o report.html
    python scripts/report.py checkpoints/demo/zero-clap --text FILE --mask "The <mask> of the <mask> ." -o report.html

The file needs nothing else, neither a network nor a server: send it, or keep it beside the checkpoint. It shows the
start of the text. Samples and answers are computed now; the page holds them all.
"""

import argparse
import sys
from pathlib import Path


def parse_args(argv=None):
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint, or the folder with checkpoint_best.pt or checkpoint_last.pt")
    add("--text", type=Path, required=True, metavar="FILE", help="text to look at, in UTF-8")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="HTML file to write")
    add("--title", help="heading of the page (default: folder and name of the checkpoint)")
    add("--tokens", type=int, default=64, metavar="N", help="of the text to show; the file grows with its square (64)")
    add("--pattern-texts", type=int, default=100, metavar="N", help="stretches of the text to read for the patterns of "
        "the heads; 0 leaves them out, and so does a tuned prompt (%(default)s)")  # fmt: skip
    add("--prompt", default="", metavar="TEXT", help="what samples continue (default: a line break)")
    add("--temperatures", type=float, nargs="+", default=[0.2, 0.5, 0.8, 1.0, 1.2], metavar="X", help="of samples "
        "(0.2 0.5 0.8 1 1.2)")  # fmt: skip
    add("--sample-length", type=int, default=400, metavar="N", help="tokens a sample, characters of a character LM; "
        "0: none (%(default)s)")  # fmt: skip
    add("--seed", type=int, default=1, metavar="N", help="of samples and intervals (%(default)s)")
    add("--mask", action="append", default=[], metavar="SENTENCE", help="with <mask> in it, for a masked LM to fill; "
        "may be repeated (default: words of the text are masked)")  # fmt: skip
    args = parser.parse_args(argv)
    if args.tokens < 1:
        parser.error(f"--tokens must be at least 1, but is {args.tokens}")
    if args.sample_length < 0 or args.pattern_texts < 0:
        parser.error("--sample-length and --pattern-texts must be at least 0")
    return args


def main():
    args = parse_args()
    from plugins import checkpoints, files, hub
    from plugins.analysis.report import contents, page
    from plugins.errors import report_in_one_line

    report_in_one_line()
    files.check_not_read([args.output], [args.text, args.checkpoint])
    with files.opened(args.text) as file:
        text = file.read()
    path = Path(hub.find_checkpoint(args.checkpoint))
    lm = hub.load(str(path))
    title = args.title or f"{path.resolve().parent.name}/{path.name}"
    report = contents.gather(
        lm, checkpoints.read_state(str(path)), title, text, source=str(args.text), tokens=args.tokens,
        pattern_texts=args.pattern_texts, prompt=args.prompt, temperatures=args.temperatures,
        length=args.sample_length, seed=args.seed, masked=args.mask,
    )  # fmt: skip
    files.write_text(args.output, page.render(report))
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
