#!/usr/bin/env python3
"""Predict the memory, the time and the communication of a training run from its architecture.

    python scripts/plan_run.py --arch clap_roberta_base --tokens 140e9 --gpu h100 --gpus 16 --batch 1M
    python scripts/plan_run.py --arch causal_lm_small --tokens 10e9 --gpu a100 --gpus 8 --batch 512k --length 1024 \
        -- --positions rotary --attention-dropout 0
    python scripts/plan_run.py --arch char_lm_nano --tokens 4M --gpu cpu --batch 4096 --length 64

Options after -- are those of the model. With --gpu cpu the time of an update is measured on this machine with models of
one and three layers. examples/scaling/README.md compares predictions with measurements and with published runs.
"""

import argparse
import re

import choices
import command
import flags

UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
PRECISIONS = ("fp32", "mixed", "half", "memory_efficient")
OPTIMIZERS = ("fused_adamw", "adam", "adamw_8bit", "adafactor", "sgd")


def number(text):
    """Return a number with an optional unit: 140e9, 1M, 512k."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\+?\d+)?)([kmbgt]?)", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, for example 140e9, 1M or 512k")
    return float(found[1]) * UNITS[found[2]]


def parse_args(argv=None):
    """Parse the command line."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--arch",
        required=True,
        help="architecture, for example clap_roberta_base, causal_lm_small, char_lm_nano",
    )
    add(
        "--tokens",
        type=number,
        required=True,
        metavar="N",
        help="total number of training tokens, for example 140e9 or 4M",
    )
    add("--batch", type=number, required=True, metavar="N", help="tokens of an update, in all processes")
    add("--length", type=flags.positive, default=512, metavar="T", help="tokens of a sequence (512)")
    add(
        "--vocabulary",
        type=flags.positive,
        metavar="V",
        help="words (50,265 of RoBERTa, 50,257 of GPT-2, 65 characters)",
    )
    add("--gpu", required=True, help="v100, a100-40gb, a100, h100, h200, l40s, or cpu for this machine")
    add("--gpus", type=flags.positive, default=1, metavar="N", help="number of GPUs on all machines (1)")
    add("--mfu", type=float, default=0.4, help="fraction of the GPUs' peak throughput that the run reaches (0.4)")
    add("--optimizer", choices=OPTIMIZERS, default="fused_adamw")
    add("--precision", choices=PRECISIONS, help="number format: mixed is --mixed-precision bf16 (mixed; fp32 on a CPU)")
    add("--checkpoint-activations", action="store_true", help="recompute activations in the backward pass")
    add("--shard", action="store_true", help="divide the model's state among the GPUs")
    add("--link", type=number, metavar="N", help="bytes/s between GPUs, one way (of the GPU's usual system)")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("model_options", nargs="*", metavar="-- OPTION", help="options of the model")
    return parser.parse_args(argv)


def main():
    args = parse_args()
    command.check_names([args.arch], choices.ARCHITECTURES, "--arch")
    command.check_names([args.gpu.lower()], choices.GPUS, "--gpu")
    from plugins.errors import report_in_one_line

    report_in_one_line()
    from plugins.planning import run

    print(run.run(args))


if __name__ == "__main__":
    command.run(main)
