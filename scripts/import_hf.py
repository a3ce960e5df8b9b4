#!/usr/bin/env python3
"""Turn a GPT-2 of Hugging Face's into a checkpoint, or a checkpoint into a folder that transformers loads.

    python scripts/import_hf.py gpt2 -o checkpoints/gpt2/model.pt
    python scripts/import_hf.py --export checkpoints/gpt2/model.pt -o exported

The folder holds config.json, model.safetensors or pytorch_model.bin, and vocab.json and merges.txt or tokenizer.json.
The tokenizer's files are put beside the checkpoint. Nothing is downloaded.
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("source", metavar="DIR", help="folder of a GPT-2; with --export, a checkpoint or the folder of one")
    add("-o", "--output", metavar="PATH", help="file to write (DIR/checkpoint_best.pt); with --export, a new folder")
    add("--export", action="store_true", help="from a checkpoint to a folder")
    add("--tokenizer", metavar="DIR", help="where the tokenizer's files are, if not in DIR")
    args = parser.parse_args(argv)
    if args.export and args.output is None:
        parser.error("--export needs -o FOLDER")
    if args.export and args.tokenizer:
        parser.error("--tokenizer makes no sense with --export: the tokenizer lies beside the checkpoint")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    import os
    from pathlib import Path

    from plugins import checkpoints, hub  # seconds, so not before the arguments are checked
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read
    from plugins.hub import gpt2

    report_in_one_line()
    if args.export:
        lm = hub.CausalLM.from_pretrained(args.source)
        output, model = args.output, lm.model
        check_not_read([os.path.join(output, gpt2.CONFIG)], [args.source])
        lm.save_pretrained(output)
    else:
        if not gpt2.is_folder(args.source):
            raise UserError(f"{args.source}: no folder with a {gpt2.CONFIG}")
        output = args.output or os.path.join(args.source, checkpoints.IN_A_FOLDER[0])
        check_not_read([output], [*Path(args.source).glob("*.bin"), *Path(args.source).glob("*.safetensors")])
        model = gpt2.read(args.source, args.tokenizer)
        checkpoints.write_causal_lm(output, model)
    size = sum(p.numel() for p in model.parameters())
    print(f"{output}: {size:,} parameters, {len(model.decoder.dictionary):,} symbols")
    if args.export and not os.path.exists(os.path.join(output, "tokenizer_config.json")):
        print("transformers does not read its tokenizer, which is no byte-level BPE: give it tokens, not text")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
