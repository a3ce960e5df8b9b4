#!/usr/bin/env python3
"""Pretrain four small masked language models with fairseq-train and compare them, in about five minutes on a CPU.

    python scripts/demo_mlm.py
    python scripts/demo_mlm.py --data my.txt more.jsonl -o checkpoints/mine

It prepares a data folder, trains each model with the command line at the start of its train.log, and shows the results
as a table, some filled masks and a plot. Finished steps are skipped when the command is run again.
"""

import argparse
import os
from pathlib import Path

import command
import flags

VARIANTS = ["baseline", "learned-clap", "alibi", "zero-clap"]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything slow is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--data", nargs="+", default=[], metavar="FILE",
        help="text, plain UTF-8 or JSON records (default: documentation in this Python installation)",
    )  # fmt: skip
    add("--jsonl-key", default="text", metavar="KEY", help="field of JSON records with the text (default: %(default)s)")
    add(
        "--vocab-size",
        type=flags.positive,
        default=2000,
        metavar="N",
        help="maximum vocabulary size (default: %(default)s)",
    )
    add("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME", help=", ".join(VARIANTS))
    add("--updates", type=flags.positive, default=500, metavar="N", help="updates of each model (default: %(default)s)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(cores, 4)  # matrices of this size gain nothing from more
    add("--threads", type=flags.processes, default=threads, metavar="N", help="CPU threads (default: %(default)s)")
    flags.add_seed(parser, of=" of weights and masks")
    add(
        "--mixed-precision", choices=["none", "bf16"],
        help="--mixed-precision of fairseq-train (default: bf16 if the GPU, or without one the CPU, has it, else none)",
    )  # fmt: skip
    add("--force", action="store_true", help="repeat finished steps too")
    add("--share", type=Path, metavar="DIR", help="also write the best model to this file, without the optimizer state")
    flags.add_output(parser, "DIR", "folder to write", "checkpoints/demo")
    args = parser.parse_args(argv)
    args.variants = list(dict.fromkeys(args.variants))
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(args.data)
    command.check_outputs(folders=[args.output, args.share])
    print("loading fairseq", flush=True)
    from plugins.errors import report_in_one_line
    from plugins.mlm.demo import Demo

    report_in_one_line()
    Demo(**vars(args)).run()


if __name__ == "__main__":
    command.run(main, "interrupted; run the same command again to resume")
