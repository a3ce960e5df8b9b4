#!/usr/bin/env python3
"""Convert a Hugging Face folder or a fairseq archive to a checkpoint.

    python scripts/import_hf.py gpt2 -o checkpoints/gpt2/model.pt
    python scripts/import_hf.py roberta-base -o checkpoints/roberta/model.pt
    python scripts/import_hf.py roberta.base --tokenizer data/gpt2-bpe -o checkpoints/roberta/model.pt

The folder has config.json, model.safetensors or pytorch_model.bin (whole or in parts), and the tokenizer's files: of a
GPT-2 or OPT, or of a RoBERTa, CamemBERT, XLM-R or BERT. An archive has model.pt and dict.txt. The dictionary and the
tokenizer are written next to the checkpoint. Nothing is downloaded. The inverse is scripts/export_hf.py, or --export
here, for a GPT-2.
"""

import argparse

import command


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("source", metavar="DIR", help="the folder; with --export, a checkpoint or its folder")
    add("-o", "--output", metavar="PATH", help="file to write (DIR/checkpoint_best.pt); with --export, a new folder")
    add("--export", action="store_true", help="from a checkpoint to a folder")
    add("--tokenizer", metavar="DIR", help="folder of the tokenizer's files, if not DIR")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if args.export and args.output is None:
        parser.error("--export needs -o FOLDER")
    if args.export and args.tokenizer:
        parser.error("--tokenizer cannot be used with --export: the tokenizer is next to the checkpoint")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(paths=[args.source, args.tokenizer])
    if args.export:
        command.check_inputs(checkpoints=[args.source])
        command.check_outputs(folders=[args.output])
    else:
        command.check_outputs([args.output])
        command.check_contains(args.source, ["config.json"], ["model.pt", "dict.txt"])
    command.announce("exporting" if args.export else "converting", args.source)
    import os
    from pathlib import Path

    from plugins import checkpoints, hub, user_dir  # seconds, so not before the arguments are checked
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read
    from plugins.hub import gpt2
    from plugins.hub.huggingface import fairseq_archive, roberta_in

    report_in_one_line()
    user_dir.load(args.user_dir)
    if args.export:
        check_not_read([os.path.join(args.output, gpt2.CONFIG)], [args.source])
        lm = hub.CausalLM.from_pretrained(args.source)
        lm.save_pretrained(args.output)
        return print_size(args.output, lm.model)
    output = args.output or os.path.join(args.source, checkpoints.IN_A_FOLDER[0])
    weights = [file for kind in ("*.bin", "*.safetensors", "model.pt") for file in Path(args.source).glob(kind)]
    check_not_read([output], weights)
    if fairseq_archive.is_archive(args.source):
        return print_size(output, fairseq_archive.convert(args.source, output, args.tokenizer))
    if not gpt2.is_folder(args.source):
        raise UserError(f"{args.source}: no folder with a {gpt2.CONFIG}, and no archive with model.pt and dict.txt")
    if roberta_in.is_roberta(args.source):
        return print_size(output, roberta_in.convert(args.source, output, args.tokenizer))
    model = gpt2.read(args.source, args.tokenizer)
    checkpoints.write_causal_lm(output, model)
    return print_size(output, model)


def print_size(output, model) -> None:
    """Print how large a model is, and where it is."""
    coder = getattr(model, "encoder", None) or model.decoder
    size = sum(p.numel() for p in model.parameters())
    print(f"{output}: {size:,} parameters, {len(coder.dictionary):,} symbols")


if __name__ == "__main__":
    command.run(main, "interrupted")
