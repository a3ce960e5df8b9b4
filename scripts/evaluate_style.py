#!/usr/bin/env python3
"""Evaluate the styles of a character LM: do independent classifiers recognize them in the text it generates?

    python scripts/evaluate_style.py checkpoints/styles --style-from file -o style.json
    python scripts/evaluate_style.py MODEL.pt --data data/styles --style-from file --seeds 1 2 3 -o style.json

Text that the model was not trained on (the validation split that the checkpoint's options define) is divided per style
in three: two classifiers of different families, the judges, learn from the first part and are tested on the second; the
third is real text for the model to continue, classify and predict. With several documents per style the parts have
different documents; with one file per style they are disjoint stretches of it.

It prints the main result and the numbers that support it. The JSON contains all numbers: the judges' accuracy on unseen
text; consistency of real, generated, mixed and random text; success in style transfer; the model's own style head; the
loss under a true, inferred, wrong and no style; and the loss in one pass next to the honest one, of each character from
its prefix only. For a checkpoint without styles it has those that apply; the text of a model that sees the future
(--style-inference published) is not judged.
"""

import argparse
import json
from pathlib import Path

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint file of the task char_lm, or its folder")
    add("--data", nargs="+", metavar="PATH", help="files or folders with text (default: those it was trained on)")
    add("--style-from", choices=("file", "folder", "jsonl", "none"), help="source of the style of a document "
        "(default: as in training)")  # fmt: skip
    flags.add_output(parser, "FILE", "JSON file with all numbers")
    add("--tables", action="store_true", help="print all numbers as Markdown tables, too")
    flags.add_seeds(parser, [1, 2, 3], " of judges and samples")
    add("--samples", type=flags.positive, default=4, help="texts per style and seed (default: %(default)s)")
    add("--sample-length", type=flags.positive, default=2000, help="characters per text (default: %(default)s)")
    add("--lengths", type=flags.positive, nargs="+", default=[50, 100, 200, 500, 1000],
        help="windows (default: 50 ... 1000)")  # fmt: skip
    add("--window", type=flags.positive, default=200, help="window of transfer and confusion (default: %(default)s)")
    add("--temperature", type=flags.not_negative, default=0.8, help="default: %(default)s")
    add("--top-k", type=flags.positive, default=200, help="default: %(default)s")
    add("--cost-windows", type=flags.positive, default=128, help="blocks per style to predict (default: %(default)s)")
    add("--honest-tokens", type=flags.natural, default=8192,
        help="characters predicted only from their prefix; 0: none (default: %(default)s)")  # fmt: skip
    flags.add_device(parser)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if args.sample_length < 2 * max(args.lengths) or args.window > args.sample_length:
        parser.error("--sample-length is at least twice the longest of --lengths, and no less than --window")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(paths=args.data or [], checkpoints=[args.checkpoint])
    command.check_outputs([args.output])
    from plugins import user_dir
    from plugins.analysis.styles import report
    from plugins.analysis.styles.evaluate import StyleEvaluation
    from plugins.analysis.styles.samples import Sampling
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, without_nan, write_text
    from plugins.hub import CharLM
    from plugins.hub.held_out import held_out

    report_in_one_line()
    user_dir.load(args.user_dir)
    check_not_read([args.output], [args.checkpoint, *(args.data or [])])
    lm = CharLM.from_pretrained(str(args.checkpoint)).to(args.device)
    documents = held_out(lm, args.checkpoint, args.data or (), args.style_from)
    sampling = Sampling(args.seeds, args.samples, args.sample_length, args.temperature, args.top_k)
    evaluation = StyleEvaluation(sampling, args.lengths, args.window, args.cost_windows, args.honest_tokens)
    kept_apart = ("checkpoint", "output", "tables")
    options = {name: value for name, value in vars(args).items() if name not in kept_apart}
    result = {"checkpoint": str(args.checkpoint), "options": options} | evaluation.run(lm, documents)
    write_text(args.output, json.dumps(without_nan(result), indent=1, default=str) + "\n")
    print("\n".join(report.headline(result)))
    if args.tables:
        print("\n" + report.tables(result), end="")
    print(f"all numbers and the samples: {args.output}")


if __name__ == "__main__":
    command.run(main)
