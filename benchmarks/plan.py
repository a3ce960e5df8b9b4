"""Compare predictions of scripts/plan_run.py with runs of fairseq-train on this CPU: seconds of an update, memory.

    python scripts/prepare_mlm.py --train TEXT -o DATA
    python benchmarks/plan.py DATA TEXT --save plan

Predictions extrapolate from models with one and with three layers; a run's speed is the median of its updates after the
second. The machine has to be idle.
"""

import argparse
import tempfile
from pathlib import Path

import measure

import plugins  # noqa: F401 (registers everything)
from plugins.planning import measuring, timing

ROOT = Path(__file__).parent.parent
CASES = {  # architecture, sequences, tokens of each, options of the model
    "clap_roberta_tiny": (32, 128, []),
    "clap_roberta_small": (8, 128, ["--positions", "alibi", "--attention-dropout", "0"]),
    "char_lm_nano": (64, 64, []),
    "char_lm_small": (8, 256, ["--dropout", "0"]),
}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of scripts/prepare_mlm.py")
    parser.add_argument("text", help="text of the character models")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args(argv)


def command(args, arch, batch, length, options):
    masked = arch.startswith("clap")
    task = ["--task", "clap_masked_lm" if masked else "char_lm", "--arch", arch, *options]
    size = ["--tokens-per-sample", str(length)] if masked else ["--block-size", str(length)]
    common = ["--user-dir", str(ROOT / "plugins"), "--cpu", "--batch-size", str(batch), "--num-workers", "0"]
    return [args.data if masked else args.text, *task, *size, *common]


def words_of(args, arch):
    """Return the rows of the table that the data need."""
    if arch.startswith("clap"):
        return 5 + len((Path(args.data) / "dict.txt").read_text(encoding="utf-8").splitlines())
    return len(set(Path(args.text).read_text(encoding="utf-8")))


def compare(args, arch, folder):
    batch, length, options = CASES[arch]
    row = measuring.run(arch, command(args, arch, batch, length, options), args.updates, folder, saves=False)
    given = [*options, *([] if arch.startswith("clap") else ["--block-size", str(length)])]
    seconds = timing.seconds_of_update(arch, words_of(args, arch), given, batch, length)
    measured = batch * length / row[measuring.SPEED]
    return {
        "seconds_predicted": seconds,
        "seconds_measured": measured,
        "time_ratio": seconds / measured,
        "process_ratio": row["predicted_process"] / row["process"],
        "tensors_ratio": row["predicted_peak"] / row["peak"],
    }


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        found = {arch: compare(args, arch, Path(folder)) for arch in args.cases}
    for arch, row in found.items():
        print(arch, {name: round(value, 3) for name, value in row.items()})
    if args.save:
        print(measure.save(args.save, {"cases": found, "updates": args.updates}))


if __name__ == "__main__":
    main()
