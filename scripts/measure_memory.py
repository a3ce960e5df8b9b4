#!/usr/bin/env python3
"""Measure the memory of one fairseq-train command in several variants, next to the prediction.

    python scripts/measure_memory.py --variants baseline checkpoint accumulate4 adafactor adamw_8bit lora -o memory -- \
        fairseq-train DATA --user-dir plugins --task clap_masked_lm --arch clap_roberta_small --batch-size 16

Each variant runs for a few updates in processes of its own. The table has MiB, predicted / measured, of weights,
gradients, optimizer state, what the forward pass leaves for the backward pass (activations), all tensors at their peak,
and the process (peak resident set, VmHWM, with glibc's malloc set to return freed memory); then the process with the
usual malloc, tokens/s, and the loss of the last update. On a GPU the JSON also has what torch's allocator reserved and
what the driver reports. For a variant that cannot run, the table has the reason.
"""

import argparse
import shlex
import sys

import choices
import command
import flags


def parse_args(argv=None):
    """Parse the command line; return the options and the command after --."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--variants", nargs="+", default=["baseline"], metavar="NAME", help="baseline mixed bf16 fp16 checkpoint "
        "accumulate4 adam adafactor adamw_8bit lora (baseline)")  # fmt: skip
    add(
        "--updates",
        type=flags.positive,
        default=6,
        metavar="N",
        help="updates of each run, the first of which is not counted (6)",
    )
    add("--repeats", type=flags.positive, default=1, metavar="N", help="runs of each variant; the median counts (1)")
    flags.add_output(parser, "DIR", "folder of memory.md, memory.csv, memory.json")
    arguments = list(sys.argv[1:] if argv is None else argv)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:at]), arguments[at + 1 :]


def main():
    args, train = parse_args()
    if not train:
        command.stop("give the command after --: -- fairseq-train DATA ...")
    variants = [name for text in args.variants for name in text.split(",") if name]
    command.check_outputs(folders=[args.output])
    command.check_names(variants, choices.MEMORY_VARIANTS, "--variants")

    from plugins.errors import report_in_one_line

    report_in_one_line()
    from plugins.planning import measuring

    rows = measuring.measure(train, variants, args.updates, args.repeats, args.output)
    measuring.write(rows, {"command": shlex.join(train), "updates": args.updates}, args.output)
    print(measuring.markdown(rows))
    if all("reason" in row for row in rows):
        command.stop(f"no variant was measured: {rows[0]['reason']}")


if __name__ == "__main__":
    command.run(main)
