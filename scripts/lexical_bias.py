#!/usr/bin/env python3
"""Measure how far words alone move a fine-tuned classifier towards a label, against random words of equal frequency.

    python scripts/lexical_bias.py CKPT --words words.txt --glue-dir GLUE -o bias
    python scripts/lexical_bias.py CKPT --words words.txt --data train.jsonl --label fiction --template "so {}" -o bias

CKPT is fine-tuned by scripts/run_glue.py. Frequencies are counted in the training texts, those of its task in
--glue-dir, or --data. For each label and template the pinned bias is printed, the mean over the words of how far the
probability of the label is above 1/2 (or another --reference), and that of the random words. DIR gets bias.csv with
these, and words.csv with the probability of each word.
"""

import argparse

import command
import flags
import headers


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="fine-tuned model, file or folder")
    add("--words", required=True, metavar="FILE", help="the words, one per line")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--glue-dir", metavar="DIR", help="folder of the files of the checkpoint's task")
    which.add_argument("--data", metavar="FILE", help="training texts: CSV, TSV or JSON lines")
    add("--text", metavar="COLUMN", help="of --data: column of the texts (default: known names)")
    add("--label", metavar="NAME", help="report this label (default: each one)")
    add("--template", nargs="+", default=["{}", "this is {}"], metavar="TEXT", help="texts with {} where the word goes "
        "(default: '{}' 'this is {}')")  # fmt: skip
    add("--reference", choices=["above", "half", "mean"], default="above", help="measure from min(p, 1/2) (default), "
        "from 1/2, or from the mean over the words")  # fmt: skip
    add("--draws", type=int, default=100, metavar="N", help="samples of random words (%(default)s)")
    flags.add_seed(parser, of=" of the samples")
    flags.add_device(parser)
    flags.add_output(parser)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if args.draws < 1:
        parser.error(f"--draws must be at least 1, but is {args.draws}")
    if any(template.count("{}") != 1 for template in args.template):
        parser.error("--template must contain {} once")
    if args.text and not args.data:
        parser.error("--text is a column of --data")
    return args


def main():
    args = parse_args()
    command.check_inputs([args.words, args.data], [args.glue_dir], [args.checkpoint])
    command.check_outputs(folders=[args.output])
    headers.check(args.data, [args.text], "--text")
    from plugins import hub, user_dir
    from plugins.checkpoints import find_checkpoint
    from plugins.diagnostics import pinned, transforms
    from plugins.errors import printable, report_in_one_line
    from plugins.files import check_not_read, staging
    from plugins.glue import lexical_bias
    from plugins.hub.devices import move

    report_in_one_line()
    user_dir.load(args.user_dir)
    checkpoint = find_checkpoint(args.checkpoint)
    written = [args.output / name for name in ("bias.csv", "words.csv")]
    check_not_read([args.output, *written], [args.words, args.data, checkpoint])
    words = sorted(transforms.read_list(args.words))
    model = hub.load(checkpoint)
    move(model, args.device)
    texts = lexical_bias.training_texts(model, args.glue_dir, args.data, args.text)
    matched = pinned.match(words, texts, args.draws, args.seed)
    found = lexical_bias.measure(model, matched, args.template, args.label, args.reference)
    with staging(args.output) as folder:
        lexical_bias.write(folder, matched, found)
    if matched.missing:
        print(printable(f"left out, since not in the training texts: {', '.join(matched.missing)}"))
    print(printable(lexical_bias.table(found)))
    print(f"everything is in {args.output}/")


if __name__ == "__main__":
    command.run(main)
