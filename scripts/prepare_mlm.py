#!/usr/bin/env python3
"""Turn text into a fairseq data folder for masked language modelling.

    python scripts/prepare_mlm.py --embedded -o data-bin/embedded
    python scripts/prepare_mlm.py --train wiki.train.txt --valid wiki.valid.txt -o data-bin/wiki

In text files an empty line separates documents; in .jsonl files every record is a document.
"""

import argparse
import os
import sys
import time


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_text_options(parser.add_argument_group("text"))
    add_token_options(parser.add_argument_group("tokens"))
    add = parser.add_argument_group("other").add_argument
    add("--seed", type=int, default=1, help="chooses the validation documents (default: %(default)s)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add(
        "--workers",
        type=int,
        default=cores,
        metavar="N",
        help="processes that encode; the result does not depend on them (default: all cores, %(default)s)",
    )
    add("--force", action="store_true", help="replace an earlier data folder")
    add("-o", "--output", required=True, metavar="DIR", help="data folder to write")
    args = parser.parse_args(argv)
    check_args(parser, args)
    return args


def add_text_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say where text comes from."""
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", nargs="+", metavar="FILE", help="training text, .jsonl or plain UTF-8")
    source.add_argument("--embedded", action="store_true", help="train on prose found in this installation")
    add = group.add_argument
    add("--valid", nargs="+", metavar="FILE", help="validation text (default: a part of the training text)")
    add(
        "--valid-fraction",
        type=float,
        metavar="X",
        help="without --valid: part of the training documents to validate on (default: 0.05)",
    )
    add("--test", nargs="+", metavar="FILE", help="test text")
    add(
        "--jsonl-key",
        default="text",
        metavar="KEY",
        help="field of .jsonl records that holds the text (default: %(default)s)",
    )


def add_token_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say how text becomes symbols."""
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
    add("--sentencepiece-model", metavar="FILE", help="use this model rather than train one")
    add("--gpt2-dir", metavar="DIR", help="folder with encoder.json, vocab.bpe and dict.txt")


def check_args(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the process with a usage error where options contradict each other or are out of range."""
    if args.valid and args.valid_fraction is not None:
        parser.error("--valid-fraction makes no sense with --valid")
    if args.valid_fraction is not None and not 0 < args.valid_fraction < 1:
        parser.error(f"--valid-fraction must lie between 0 and 1, but is {args.valid_fraction}")
    if (args.tokenizer == "gpt2") != (args.gpt2_dir is not None):
        parser.error("--tokenizer gpt2 goes with --gpt2-dir DIR (scripts/get_data.py gpt2-bpe fetches it)")
    if args.tokenizer == "gpt2" and (args.vocab_size or args.sentencepiece_model):
        parser.error("--vocab-size and --sentencepiece-model make no sense with --tokenizer gpt2")
    if args.vocab_size is not None and args.sentencepiece_model:
        parser.error("--vocab-size makes no sense with --sentencepiece-model, whose size is fixed")
    if args.vocab_size is not None and not 10 <= args.vocab_size <= 10_000_000:
        parser.error(f"--vocab-size {args.vocab_size} is no size of a dictionary; 8000 is usual")
    if args.workers < 1:
        parser.error(f"--workers must be at least 1, but is {args.workers}")


def main() -> None:
    """Run the command."""
    args = parse_args()
    import plugins  # noqa: F401  (seconds, so not before the arguments are checked)
    from plugins.errors import report_in_one_line

    report_in_one_line()
    start = time.monotonic()
    print_table(prepare(args))
    print(f"{args.output} written in {time.monotonic() - start:.1f} s")


def prepare(args: argparse.Namespace) -> list:
    """Read, tokenize and write as the arguments say; return a report for each split."""
    from pathlib import Path

    from plugins.data.mlm.folder import check_output, split_documents, write_mlm_folder
    from plugins.data.text.documents import embedded_corpus, read_documents

    check_output(Path(args.output), args.force)  # before minutes of work
    train = list(embedded_corpus() if args.embedded else read_documents(args.train, args.jsonl_key))
    if args.valid:
        valid = list(read_documents(args.valid, args.jsonl_key))
    else:
        fraction = 0.05 if args.valid_fraction is None else args.valid_fraction
        train, valid = split_documents(train, fraction, args.seed)
    splits = {"train": train, "valid": valid}
    if args.test:
        splits["test"] = list(read_documents(args.test, args.jsonl_key))
    tokenizer = make_tokenizer(args, train)
    return write_mlm_folder(args.output, splits, tokenizer, workers=args.workers, force=args.force)


def make_tokenizer(args: argparse.Namespace, train: list[str]):
    """Return the tokenizer that the arguments ask for; a new sentencepiece model learns from ``train``."""
    from plugins.data.text.tokenizers import GPT2Tokenizer, SentencePieceTokenizer

    if args.tokenizer == "gpt2":
        return GPT2Tokenizer(args.gpt2_dir)
    if args.sentencepiece_model:
        return SentencePieceTokenizer.from_file(args.sentencepiece_model)
    lines = [line for document in train for line in document.split("\n")]
    size, exact = (8000, False) if args.vocab_size is None else (args.vocab_size, True)
    return SentencePieceTokenizer.train(lines, size, exact=exact, seed=args.seed)


def print_table(reports: list) -> None:
    """Print a row for each split."""
    print(f"{'split':<6}{'documents':>10}{'lines':>10}{'tokens':>12}{'types':>8}{'% unk':>8}{'seconds':>9}")
    for r in reports:
        print(f"{r.split:<6}{r.documents:>10,}{r.lines:>10,}{r.tokens:>12,}", end="")
        print(f"{r.types:>8,}{r.unknown:>8.3f}{r.seconds:>9.1f}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
