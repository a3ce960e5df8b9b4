#!/usr/bin/env python3
"""Convert text to a fairseq data folder for masked language modeling.

    python scripts/prepare_mlm.py --embedded -o data-bin/embedded
    python scripts/prepare_mlm.py --train wiki.train.txt --valid wiki.valid.txt -o data-bin/wiki

In text files an empty line separates documents; in JSON files (lines or an array) every record is a document.
"""

import argparse
import os
import time

import command


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything slow is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_text_options(parser.add_argument_group("text"))
    add_token_options(parser.add_argument_group("tokens"))
    add = parser.add_argument_group("other").add_argument
    add("--seed", type=int, default=1, help="seed of the choice of validation documents (default: %(default)s)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add(
        "--workers",
        type=int,
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
    source.add_argument("--train", nargs="+", metavar="FILE", help="training text, plain UTF-8 or JSON records")
    source.add_argument("--embedded", action="store_true", help="train on documentation in this Python installation")
    add = group.add_argument
    add("--valid", nargs="+", metavar="FILE", help="validation text (default: some of the training documents)")
    add(
        "--valid-fraction",
        type=float,
        metavar="X",
        help="without --valid: fraction of the training documents for validation (default: 0.05)",
    )
    add("--test", nargs="+", metavar="FILE", help="test text")
    add(
        "--jsonl-key",
        default="text",
        metavar="KEY",
        help="field of JSON records with the text (default: %(default)s)",
    )


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
        "(default: 8000, or as many as the text gives)",
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
    if args.workers < 1:
        parser.error(f"--workers must be at least 1, but is {args.workers}")


def main() -> None:
    """Run the command."""
    start = time.monotonic()
    args = parse_args()
    texts = [*(args.train or []), *(args.valid or []), *(args.test or [])]
    command.check_inputs([*texts, args.sentencepiece_model], [args.gpt2_dir])
    from plugins.data.mlm.prepare import Preparation  # takes seconds, so not before the arguments are checked
    from plugins.errors import report_in_one_line

    report_in_one_line()
    options = {name: value for name, value in vars(args).items() if name not in ("embedded", "tokenizer")}
    print_table(Preparation(**options).run())
    print(f"{args.output} written in {time.monotonic() - start:.1f} s")


def print_table(reports: list) -> None:
    """Print a row for each split."""
    print(f"{'split':<6}{'documents':>10}{'lines':>10}{'tokens':>12}{'types':>8}{'% unk':>8}{'seconds':>9}")
    for r in reports:
        print(f"{r.split:<6}{r.documents:>10,}{r.lines:>10,}{r.tokens:>12,}", end="")
        print(f"{r.types:>8,}{r.unknown:>8.3f}{r.seconds:>9.1f}")


if __name__ == "__main__":
    command.run(main, "interrupted")
