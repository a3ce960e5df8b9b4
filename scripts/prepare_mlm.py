#!/usr/bin/env python3
"""Convert text of any size to a fairseq data folder for masked language modeling.

    python scripts/prepare_mlm.py --embedded -o data-bin/embedded
    python scripts/prepare_mlm.py --train wiki.train.txt --valid wiki.valid.txt -o data-bin/wiki
    python scripts/prepare_mlm.py --hf-dataset wikitext -o data-bin/wikitext
    python scripts/prepare_mlm.py --train pile/ --valid val.jsonl.zst --items documents --shards 30 \\
        --tokenizer gpt2 --gpt2-dir data/gpt2-bpe -o data-bin/pile

PATH is a file, or a folder that is searched for .txt, .md, .jsonl and similar files; .gz and .zst files are unpacked
while they are read. In text files an empty line separates documents; in JSON files (lines or an array) every record is
a document. Memory does not grow with the text. The folder also gets manifest.json: sources, counts, SHA-256 sums,
tokenizer.

An interrupted call with --shards continues with the missing shards when it is started again. A SLURM array of N tasks
prepares a shard each with --shards N --shard-index $SLURM_ARRAY_TASK_ID; the task that ends last joins them.
"""

import argparse
import os
import time
from pathlib import Path

import command
import flags

MOST_SHARDS = 99_999


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything slow is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_text_options(parser.add_argument_group("text"))
    add_token_options(parser.add_argument_group("tokens"))
    add_shard_options(parser.add_argument_group("shards"))
    add = parser.add_argument_group("other").add_argument
    flags.add_seed(parser, of=" of the choice of validation documents")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add(
        "--workers",
        type=flags.processes,
        default=cores,
        metavar="N",
        help="encoding processes; the result does not depend on them (default: all cores, %(default)s)",
    )
    add("--force", action="store_true", help="replace an earlier data folder")
    add("-o", "--output", required=True, metavar="DIR", help="data folder to write")
    args = parser.parse_args(argv)
    check_args(parser, args)
    return args


def add_text_options(group: argparse._ArgumentGroup) -> None:
    """Add the options for the text."""
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", nargs="+", metavar="PATH", help="training text, UTF-8 or JSON records")
    source.add_argument(
        "--hf-dataset",
        metavar="DIR",
        help="dataset of the Hugging Face Hub: Parquet files, or a folder that the datasets library saved; its train, "
        "validation and test splits",
    )
    source.add_argument("--embedded", action="store_true", help="train on documentation in this Python installation")
    add = group.add_argument
    add("--valid", nargs="+", metavar="PATH", help="validation text (default: some of the training documents)")
    add(
        "--valid-fraction",
        type=float,
        metavar="X",
        help="without --valid: fraction of the training documents for validation (default: 0.05)",
    )
    add("--test", nargs="+", metavar="PATH", help="test text")
    add(
        "--jsonl-key",
        default="text",
        metavar="KEY",
        help="field of JSON records, or column, with the text (default: %(default)s)",
    )
    add(
        "--items",
        choices=("lines", "documents"),
        default="lines",
        help="what becomes an item: a line without surrounding blanks, or a whole document, for example a JSON record, "
        "with its line breaks (default: %(default)s)",
    )
    add(
        "--deduplicate",
        choices=("exact", "near"),
        help="drop training documents that occurred before: the same but for case and blanks, or with a similarity of "
        "at least 0.8 by MinHash",
    )


def add_shard_options(group: argparse._ArgumentGroup) -> None:
    """Add the options for dividing the work."""
    add = group.add_argument
    add(
        "--shards",
        type=int,
        default=1,
        metavar="N",
        help="divide the training text into N parts, train.bin, train1.bin, ...; an epoch is all of them (default: 1)",
    )
    add("--shard-index", type=int, metavar="I", help="prepare only part I, from 0; the last to end joins all parts")


def add_token_options(group: argparse._ArgumentGroup) -> None:
    """Add the options for the tokenizer."""
    add = group.add_argument
    add(
        "--tokenizer",
        choices=("sentencepiece", "gpt2"),
        default="sentencepiece",
        help="sentencepiece, trained here, or GPT-2's byte-pair encoding (default: %(default)s)",
    )
    add(
        "--vocab-size",
        type=int,
        metavar="N",
        help="symbols in the dictionary, fairseq's four special ones included "
        "(default: 8000, or fewer if the text has fewer)",
    )
    add("--sentencepiece-model", metavar="FILE", help="use this model instead of training one")
    add("--gpt2-dir", metavar="DIR", help="folder with encoder.json, vocab.bpe and dict.txt")


def check_args(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exit with a usage error where options contradict each other or are out of range."""
    if args.valid and args.valid_fraction is not None:
        parser.error("--valid-fraction cannot be used with --valid")
    if args.valid_fraction is not None and not 0 < args.valid_fraction < 1:
        parser.error(f"--valid-fraction must be between 0 and 1, but is {args.valid_fraction}")
    if (args.tokenizer == "gpt2") != (args.gpt2_dir is not None):
        parser.error("--tokenizer gpt2 needs --gpt2-dir DIR (scripts/get_data.py gpt2-bpe fetches it)")
    if args.tokenizer == "gpt2" and (args.vocab_size or args.sentencepiece_model):
        parser.error("--vocab-size and --sentencepiece-model cannot be used with --tokenizer gpt2")
    if args.vocab_size is not None and args.sentencepiece_model:
        parser.error("--vocab-size cannot be used with --sentencepiece-model, whose size is fixed")
    if args.vocab_size is not None and not 10 <= args.vocab_size <= 10_000_000:
        parser.error(f"--vocab-size {args.vocab_size} is not a valid vocabulary size; 8000 is usual")
    check_shards(parser, args)


def check_shards(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exit with a usage error where the options for shards contradict others."""
    if not 1 <= args.shards <= MOST_SHARDS:
        parser.error(f"--shards must be from 1 to {MOST_SHARDS}, but is {args.shards}")
    if args.shards > 1 and (args.embedded or args.hf_dataset):
        parser.error(f"--shards divides text files; {'--embedded' if args.embedded else '--hf-dataset'} has none")
    if args.shard_index is None:
        return
    if args.shards == 1 or not 0 <= args.shard_index < args.shards:
        parser.error(f"--shard-index {args.shard_index} must be from 0 to N - 1 with --shards N of at least 2")
    if args.tokenizer == "sentencepiece" and not args.sentencepiece_model:
        parser.error("--shard-index needs a tokenizer that all parts share: --sentencepiece-model or --tokenizer gpt2")
    if args.deduplicate:
        parser.error("--deduplicate compares all parts: run it without --shard-index, which prepares one of them")


def main() -> None:
    """Run the command."""
    start = time.monotonic()
    args = parse_args()
    texts = [*(args.train or []), *(args.valid or []), *(args.test or [])]
    command.check_inputs([args.sentencepiece_model], [*texts, args.hf_dataset, args.gpt2_dir])
    command.check_outputs(folders=[args.output])
    from plugins.data.mlm.prepare import MANIFEST, Preparation  # takes seconds: after the arguments are checked
    from plugins.errors import report_in_one_line
    from plugins.files import read_json

    report_in_one_line()
    options = {name: value for name, value in vars(args).items() if name not in ("embedded", "tokenizer", "hf_dataset")}
    if args.hf_dataset:
        from plugins.data.text import columnar

        found = columnar.splits(args.hf_dataset)
        options |= {name: options[name] or paths for name, paths in found.items()}
    preparation = Preparation(**options)
    if reports := preparation.run():
        print_table(reports)
        if args.deduplicate:
            found = read_json(Path(args.output, MANIFEST))["duplicates"]
            print(f"repeated training documents dropped: {found['exact']:,} exact, {found['near']:,} near")
        print(f"{args.output} written in {time.monotonic() - start:.1f} s")
    else:
        print(f"part {args.shard_index} of {args.shards} is ready; {preparation.unfinished()} parts are missing")


def print_table(reports: list) -> None:
    """Print a row for each split."""
    print(f"{'split':<6}{'documents':>10}{'lines':>10}{'tokens':>12}{'types':>8}{'% unk':>8}{'seconds':>9}")
    for r in reports:
        print(f"{r.split:<6}{r.documents:>10,}{r.lines:>10,}{r.tokens:>12,}", end="")
        print(f"{r.types:>8,}{r.unknown:>8.3f}{r.seconds:>9.1f}")


if __name__ == "__main__":
    command.run(main, "interrupted")
