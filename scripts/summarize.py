#!/usr/bin/env python3
"""Summarize the documents of a file: one JSON line each, with ROUGE if the file has summaries.

    python scripts/summarize.py checkpoints/lora test.csv -o summaries.jsonl --beam 4 --no-repeat-ngram 3
    python scripts/summarize.py checkpoints/lora articles.jsonl --temperature 0.7 --top-p 0.9
    python scripts/summarize.py gpt2/ test.csv --separator "TL;DR:"     # a text prompt, for an untuned model
    python scripts/summarize.py lead-3 test.csv                         # the first three sentences

FILE is .csv (with quoting), .tsv (without), .jsonl, or a folder with test.csv or the like. Lines go to the standard
output or to --output, the mean scores with their 95 % intervals to the standard error output. Scores are F-measures
from 0 to 1.
"""

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path

import command
import flags
import headers

SEARCH = (
    "max_length", "min_length", "no_repeat_ngram", "force", "forbid", "document_tokens", "batch_size", "temperature",
    "top_k", "top_p", "beam", "length_penalty", "seed",
)  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Nothing heavy is imported before."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint, its folder, a GPT-2's folder, or lead-N for N first sentences")
    add("file", metavar="FILE", help="documents, optionally with summaries")
    add("-o", "--output", type=Path, metavar="FILE", help="file to write atomically (default: print)")
    add("--document-column", metavar="NAME", help="column of the documents (article, document or text)")
    add("--summary-column", metavar="NAME", help="column of the summaries (highlights or summary)")
    add("--split", default="test", help="file of a folder: train, valid or test (default: %(default)s)")
    add("--limit", type=flags.positive, metavar="N", help="stop after N documents (all)")
    add("--skip-bad-rows", action="store_true", help="skip records without a document, and count them")
    add("--separator", metavar="TEXT", help="text before a summary: <|token|> or words (the checkpoint's)")
    add("--peft-base", metavar="CKPT", help="checkpoint of an adapter's base, if it was moved")
    add_search(parser.add_argument_group("search"))
    add_rules(parser.add_argument_group("rules"))
    speed = parser.add_argument_group("speed")
    speed.add_argument(
        "--batch-size", type=flags.positive, default=8, metavar="N", help="documents per batch (%(default)s)"
    )
    flags.add_compile(speed, "for many summaries")
    flags.add_dtype(speed, "bfloat16", "int8")
    flags.add_device(speed)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    for name in (*SEARCH, "separator", "peft_base", "dtype", "device", "compile") if lead(args.checkpoint) else ():
        if getattr(args, name) != parser.get_default(name):
            parser.error(f"--{name.replace('_', '-')} has no effect on {args.checkpoint}, which copies sentences")
    return args


def add_search(group) -> None:
    """Add the options of :class:`plugins.modules.generation.Search`."""
    flags.add_sampling(group, 0.0, None)
    add = group.add_argument
    add("--beam", type=flags.positive, default=1, metavar="N", help="beam search with N hypotheses (%(default)s)")
    add("--length-penalty", type=float, default=1.0, metavar="X",
        help="length penalty of beam search; values above 1 favor longer summaries (%(default)s)")  # fmt: skip
    flags.add_seed(group, of="; each document has its own stream")


def add_rules(group) -> None:
    """Add the options of the lengths and words of summaries."""
    add = group.add_argument
    add(
        "--max-length",
        type=flags.positive,
        default=64,
        metavar="N",
        help="maximum number of tokens of a summary (%(default)s)",
    )
    add(
        "--min-length",
        type=flags.natural,
        default=0,
        metavar="N",
        help="minimum number of tokens of a summary (%(default)s)",
    )
    add(
        "--no-repeat-ngram",
        type=flags.natural,
        default=0,
        metavar="N",
        help="no N tokens in a row occur twice (off: 0)",
    )
    add("--force", nargs="+", default=[], metavar="WORD", help="words that every summary contains")
    add("--forbid", nargs="+", default=[], metavar="WORD", help="texts that no summary contains, even within words")
    add("--document-tokens", type=flags.positive, metavar="N", help="truncate documents to N tokens (as many as fit)")


def lead(checkpoint: str) -> int:
    """Return N of lead-N, 0 for a model."""
    found = re.fullmatch(r"lead-([1-9]\d{0,8})", checkpoint)
    return int(found[1]) if found and not os.path.exists(checkpoint) else 0


def main() -> None:
    """Run the command."""
    args = parse_args()
    model = None if lead(args.checkpoint) else args.checkpoint
    command.check_inputs(paths=[args.file], checkpoints=[model, args.peft_base])
    command.check_outputs([args.output])
    headers.check(args.file, [args.document_column], "--document-column")
    headers.check(args.file, [args.summary_column], "--summary-column")
    from plugins import user_dir
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read, replacing

    report_in_one_line()
    user_dir.load(args.user_dir)
    check_not_read([args.output], [args.file, args.checkpoint, args.peft_base])
    if args.output is None and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when the reader of a pipe does
    if args.output is not None and (args.output.is_dir() or not args.output.parent.is_dir()):
        why = "is a folder" if args.output.is_dir() else "no such folder"
        raise UserError(f"--output {args.output}: {why}; name a file in an existing folder")
    if args.output is None:
        scores = [write(sys.stdout, line) for line in lines(args)]
    else:
        with replacing(args.output) as part, part.open("w", encoding="utf-8") as file:
            scores = [write(file, line) for line in lines(args)]
    scores = [score for score in scores if score]
    if scores:
        print(json.dumps(summary(scores)), file=sys.stderr)


def write(file, line: dict) -> dict | None:
    """Write a line and return its scores."""
    from plugins.errors import printable

    text = json.dumps(line, ensure_ascii=False)
    print(printable(text) if file.isatty() else text, file=file, flush=True)
    return line.get("rouge")


def lines(args):
    """Yield the output of each document: its id, its summary, and the reference and scores if available."""
    import itertools

    from tqdm import tqdm

    from plugins.analysis.metrics import rouge
    from plugins.data.summaries.reader import Columns, locate, read

    columns = Columns(args.document_column, args.summary_column)
    records = read(locate(args.file, args.split), columns, args.summary_column is not None, args.skip_bad_rows)
    records = list(tqdm(itertools.islice(records, args.limit), "reading", leave=False, unit=" documents", disable=None))
    found = summaries(args, records)
    # Without a terminal no bar; with one it stays below the lines.
    for record, text in zip(tqdm(records, "summarizing", unit=" documents", disable=None), found, strict=True):
        line = {"id": record.name, "summary": text}
        if record.summary is not None:
            line |= {"reference": record.summary, "rouge": rouge.score(text, record.summary)}
        yield line


def summaries(args, records):
    """Return an iterator over the summaries of records."""
    import torch

    from plugins.hub.summarizer import Lead, Summarizer

    documents = [record.document for record in records]
    if count := lead(args.checkpoint):
        return Lead(count).summaries(documents)
    model = Summarizer.from_pretrained(args.checkpoint, args.separator, args.peft_base)
    model.lm.to(args.device, None if args.dtype == "float32" else getattr(torch, args.dtype))
    options = {name: getattr(args, name) for name in SEARCH} | {"compiled": args.compile}
    return model.summaries(documents, [record.name for record in records], **options)


def summary(scores: list[dict]) -> dict:
    """Return the mean of scores, with intervals and how they were computed."""
    from plugins.analysis.metrics import rouge

    means, spread = rouge.mean(scores), rouge.intervals(scores)
    rows = {
        kind: {"mean": round(means[kind], 4), "interval": [round(end, 4) for end in spread[kind]]} for kind in means
    }
    return {"documents": len(scores), **rows, "settings": rouge.SETTINGS}


if __name__ == "__main__":
    command.run(main)
