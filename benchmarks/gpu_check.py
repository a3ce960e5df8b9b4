"""Check this package on a GPU, in at most nine minutes: kernels, exactness, training steps against their peers,
waits of the host, and runs of fairseq-train in each precision.

    python benchmarks/gpu_check.py -o results
    python benchmarks/gpu_check.py --tiny -o results          # the same code at toy size on a CPU
    python benchmarks/gpu_check.py --bundle gpu_check.pyz     # for a machine without fairseq or network:
    python gpu_check.pyz -o results                           # there

Written are gpu_check.json and gpu_check.md. The exit status is 1 if a row failed or a law is broken: a loss or gradient
norm that differs from float32 on the CPU by more than its type allows, a host wait, a training run that does not learn.
"""

import argparse
import sys
import time
from pathlib import Path

PARTS = ("ceiling", "attention", "loss", "exact", "steps", "compiled", "decoders", "syncs", "train")
SECONDS = 540


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu_check"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes on a CPU")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help="begin nothing later (%(default)s)")
    parser.add_argument(
        "--precision", nargs="+", default=["autocast", "weights"], choices=["autocast", "weights"],
        help="of the steps: autocast to bfloat16, or weights in bfloat16 (both)",
    )  # fmt: skip
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="of the steps: only these, such as alibi-flex (all)"
    )
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="pack what the check needs into FILE, and stop")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    if args.bundle:
        from gpu import bundle

        print(f"{bundle.write(args.bundle)}: {args.bundle.stat().st_size / 1e6:.1f} MB")
        return
    import torch

    if not args.tiny and not torch.cuda.is_available():
        sys.exit("gpu_check.py: no GPU here; give --tiny to try the check on a CPU")
    start = time.monotonic()
    from gpu import kernels, runs, steps
    from gpu.table import Table

    import plugins  # noqa: F401

    table = Table(
        args.output, "cpu" if args.tiny else "cuda", args.tiny, start, args.seconds, args.precision, args.models
    )
    parts = {
        "ceiling": kernels.ceiling, "attention": kernels.attention, "loss": kernels.loss, "exact": steps.exact,
        "steps": steps.masked, "compiled": steps.compiled, "decoders": steps.decoders, "syncs": steps.syncs,
        "train": runs.train,
    }  # fmt: skip
    for name in args.only:
        parts[name](table)
        table.save()
    print(table.markdown())
    sys.exit(1 if table.broken else 0)


if __name__ == "__main__":
    main()
