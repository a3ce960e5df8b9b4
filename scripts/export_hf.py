#!/usr/bin/env python3
"""Write a checkpoint as a folder that Hugging Face transformers loads by its Auto classes.

    python scripts/export_hf.py checkpoints/zero_clap_tiny -o exported
    python scripts/export_hf.py checkpoints/gpt2/model.pt -o exported --dtype bfloat16

A RoBERTa or a GPT-2 becomes transformers' own. Other models come with their code: load the folder with
trust_remote_code=True. The folder has the tokenizer and a model card too. Nothing is overwritten.
"""

import argparse

import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("-o", "--output", required=True, metavar="FOLDER", help="a new folder")
    flags.add_dtype(parser, "bfloat16", "float16")
    add("--head", metavar="NAME", help="classification head to export, if there are several")
    add(
        "--check",
        action="store_true",
        help="load the folder with transformers and compare its logits with those of this package",
    )
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(checkpoints=[args.checkpoint])
    command.check_outputs(folders=[args.output])
    command.announce("exporting", args.checkpoint)
    from plugins import hub, user_dir
    from plugins.errors import report_in_one_line

    report_in_one_line()
    user_dir.load(args.user_dir)
    hub.export(args.checkpoint, args.output, dtype=args.dtype, head=args.head)
    print(f"{args.output}: written")
    if args.check:
        command.announce("comparing with transformers:", args.output)
        from plugins.hub.huggingface.check import largest_difference

        difference = largest_difference(hub.load(args.checkpoint), args.output, args.head)
        print(f"{args.output}: the largest difference of logits is {difference:.1e} ({args.dtype})")


if __name__ == "__main__":
    command.run(main, "interrupted")
