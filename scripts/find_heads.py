#!/usr/bin/env python3
"""Score every attention head of a model on named patterns, over many texts.

    python scripts/find_heads.py checkpoints/nano data/shakespeare_char/valid.txt
    python scripts/find_heads.py checkpoints/mlm valid.txt --texts 500 --json heads.json -o heads.png

A score is the fraction of a head's attention on the pattern, minus that of a uniform head: 0 for no
preference, near 1 for a head that does nothing else. In parentheses: its 95 % bootstrap interval over texts. A masked
LM reads lines, other models stretches of --length characters. Layers and heads count from 0.
"""

import argparse
import itertools
import sys
from pathlib import Path

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("files", metavar="TEXTS", nargs="+", help="files of text, in UTF-8")
    add("--texts", type=int, default=200, metavar="N", help="texts from the start of each file (%(default)s)")
    add("--length", type=int, default=128, metavar="N", help="maximum tokens of a text; at most what the model takes "
        "(%(default)s)")  # fmt: skip
    add("--best", type=int, default=3, metavar="N", help="heads to print for each pattern (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write all scores, [layer][head], too")
    flags.add_output(parser, "FILE", "figure", "heads.png")
    flags.add_seed(parser, 0, " of the intervals and the random sequences")
    flags.add_device(parser)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if min(args.texts, args.best) < 1 or args.length < 4:
        parser.error("--texts and --best are at least 1, --length at least 4")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(args.files, checkpoints=[args.checkpoint])
    command.check_outputs([args.json], figures=[args.output])
    import plugins.hub  # seconds, so not before the arguments are checked
    from plugins import user_dir
    from plugins.analysis.attention import plots as attention_plots
    from plugins.analysis.attention.capture import sees_both_ways
    from plugins.analysis.attention.head_scores import NoText, check_without_prompt, score_heads
    from plugins.errors import UserError, located, report_in_one_line
    from plugins.files import check_not_read, without_nan, write_json
    from plugins.hub import language_model_of
    from plugins.hub.devices import move

    report_in_one_line()
    user_dir.load(args.user_dir)
    check_not_read([args.output, args.json], [args.checkpoint, *args.files])
    lm = language_model_of(plugins.hub.load(args.checkpoint), args.checkpoint, predicts=False)
    with located(args.checkpoint):
        check_without_prompt(lm)
    move(lm.model, args.device)
    length = min(args.length, lm.model.max_positions())
    size = 0 if sees_both_ways(lm.model) else length
    texts = itertools.chain.from_iterable(read(lm, path, size, args.texts) for path in args.files)
    try:
        scores = score_heads(lm, texts, length=length, seed=args.seed, bar=sys.stderr.isatty())
    except NoText as error:
        raise UserError(f"{', '.join(args.files)}: {error}") from error
    print(table(scores, args.best))
    title = f"Which patterns do the heads of {Path(args.checkpoint).name} have?"
    attention_plots.pattern_maps(args.output, scores, title)
    print(f"figure: {args.output}")
    if args.json:
        arrays = {name: {key: value.tolist() for key, value in found.items()} for name, found in scores.items()}
        options = {"checkpoint": args.checkpoint, "texts": args.files, "texts_of_each": args.texts, "length": length}
        write_json(args.json, {**options, "seed": args.seed, "patterns": without_nan(arrays)})
        print(f"scores: {args.json}")


def read(lm, path: str, size: int, count: int):
    """Yield the first texts of a file: stretches of ``size`` characters, or non-blank lines for size 0.

    Raises:
        UserError: the file cannot be read, or a text in it contains an unknown symbol.
    """
    from plugins.analysis.attention.capture import encode
    from plugins.data.text.records import check_plain
    from plugins.errors import UserError
    from plugins.files import opened

    check_plain(path)
    kind = f"stretch of {size} characters, number" if size else "text"

    with opened(path) as file:
        texts = iter(lambda: file.read(size), "") if size else (line.strip() for line in file if line.strip())
        for number, text in enumerate(itertools.islice(texts, count), start=1):
            try:
                encode(lm, text, lm.model.max_positions())
            except UserError as error:
                raise UserError(f"{path}, {kind} {number}: {error}") from error
            yield text


def table(scores, count: int) -> str:
    """Return a line for each pattern: the numbers of its queries and texts, and the best heads."""
    from plugins.analysis.attention.names import readable
    from plugins.analysis.attention.plots import best_heads

    rows = [("pattern", "queries", "texts", "best heads: score (95 % interval)")]
    for name, found in scores.items():
        rows.append(
            (readable(name), f"{found['items']:,}", f"{found['texts']:,}", " | ".join(best_heads(found, count)))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows)


if __name__ == "__main__":
    command.run(main)
