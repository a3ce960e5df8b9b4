#!/usr/bin/env python3
"""Merge an adapter (of --peft lora or last_layer) into its base and write a plain checkpoint.

The result computes the same function at the base's speed, and can be fine-tuned again. Its dictionary and tokenizer are
written next to it. A prompt cannot be merged.

    python scripts/merge_peft.py checkpoints/lora/checkpoint_best.pt -o checkpoints/merged/model.pt

Adapters of a causal_lm, prompts included, are converted to and from folders of the peft library:

    python scripts/merge_peft.py checkpoints/lora/checkpoint_best.pt --export FOLDER
    python scripts/merge_peft.py --import FOLDER --base gpt2/model.pt -o checkpoints/imported/adapter.pt
"""

import argparse
import sys
from pathlib import Path

import command

sys.path.insert(0, str(Path(__file__).parents[1]))


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", nargs="?", help="checkpoint of an adapter, or a folder with checkpoint_best.pt")
    parser.add_argument("-o", "--output", metavar="CKPT", help="the checkpoint to write")
    parser.add_argument("--base", metavar="CKPT", help="checkpoint of the base, if it was moved")
    parser.add_argument(
        "--export", metavar="FOLDER", help="new folder for adapter_model.safetensors and adapter_config.json"
    )
    parser.add_argument(
        "--base-name",
        "--base-model",
        metavar="NAME",
        help="with --export: base_model_name_or_path, the base on the Hub or its folder",
    )
    parser.add_argument("--import", dest="folder", metavar="FOLDER", help="folder of the peft library to convert")
    command.add_user_dir(parser)
    args = parser.parse_args(arguments)
    if bool(args.adapter) == bool(args.folder):
        parser.error("give either the checkpoint of an adapter or --import FOLDER")
    if args.folder and not (args.base and args.output):
        parser.error("--import needs --base CKPT and --output CKPT")
    if args.adapter and bool(args.output) == bool(args.export):
        parser.error("give either --output CKPT, to merge, or --export FOLDER")
    if args.base_name and not args.export:
        parser.error("--base-name is for --export FOLDER")
    if args.export and args.folder:
        parser.error("--export is for the checkpoint of an adapter, not for --import FOLDER")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(paths=[args.folder], checkpoints=[args.adapter, args.base])
    command.check_outputs([args.output], [args.export])
    command.check_contains(args.folder, ["adapter_config.json"])
    if source := args.base or args.folder or args.adapter:
        command.announce("reading", source)
    from plugins import user_dir
    from plugins.errors import UserError
    from plugins.files import check_not_read
    from plugins.hub import adapters, peft_format

    exported = [Path(args.export, name) for name in (peft_format.WEIGHTS, peft_format.CONFIG)] if args.export else []
    try:
        user_dir.load(args.user_dir)
        check_not_read([args.output, *exported], [args.adapter, args.base, args.folder])
        if args.folder:
            peft_format.convert(args.folder, args.base, args.output)
        elif args.export:
            peft_format.export(args.adapter, args.export, args.base_name, args.base)
        else:
            adapters.merge_checkpoint(args.adapter, args.output, args.base)
    except UserError as error:
        sys.exit(f"error: {error}")
    print("written:", args.output or args.export)


if __name__ == "__main__":
    command.run(main)
