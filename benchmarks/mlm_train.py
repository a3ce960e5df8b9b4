"""Time whole runs of ``fairseq-train``: words per second of clap_roberta against fairseq's own RoBERTa.

Each contestant is the real command line on the same data with the same sizes, updates and blocks, in turn; the ratio
of the words per second that fairseq logs is taken pair by pair: above 1, clap_roberta is faster.

    python scripts/prepare_mlm.py --embedded -o data-bin/embedded
    python benchmarks/mlm_train.py data-bin/embedded --repeats 5
    python benchmarks/mlm_train.py data-bin/embedded --variant zero-clap --autocast
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SIZES = {  # layers, width, heads, batch, tokens
    "tiny": (4, 128, 4, 32, 128),
    "base-cut": (2, 768, 12, 4, 512),
    "base": (12, 768, 12, 16, 512),
    "base-2048": (12, 768, 12, 4, 2048),
}
OWN = "--user-dir plugins --task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta --optimizer fused_adamw"
CONTESTANTS = {
    "fairseq": "--task masked_lm --criterion masked_lm --arch roberta_base --optimizer adam",
    "baseline": f"{OWN} --head roberta",
    "alibi": f"{OWN} --head roberta --positions alibi",
    "learned-clap": f"{OWN} --head clap",
    "zero-clap": f"{OWN} --head clap --positions alibi --omit-mask",
}
PEER, BF16 = "fairseq", ", autocast"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="data folder made by scripts/prepare_mlm.py")
    parser.add_argument("--shape", default="tiny", choices=SIZES)
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.1])
    parser.add_argument("--variant", nargs="+", default=[v for v in CONTESTANTS if v != PEER], choices=CONTESTANTS)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--autocast", action="store_true", help="also the variants with --mixed-precision bf16")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def command(name, args, dropout):
    layers, width, heads, batch, tokens = SIZES[args.shape]
    options = f"""{CONTESTANTS[name.removesuffix(BF16)]} --encoder-layers {layers} --encoder-embed-dim {width}
        --encoder-ffn-embed-dim {4 * width} --encoder-attention-heads {heads} --max-positions {tokens}
        --tokens-per-sample {tokens} --batch-size {batch} --dropout {dropout} --attention-dropout {dropout}
        --sample-break-mode none --lr 1e-4 --lr-scheduler fixed --weight-decay 0.01 --adam-betas (0.9,0.98)
        --adam-eps 1e-6 --max-update {args.updates} --no-save --disable-validation --log-format json
        --log-interval 1000000 --seed 1"""
    options = options.split() + ["--cpu"] * (args.device == "cpu") + ["--bf16"] * args.bf16
    options += ["--mixed-precision", "bf16"] * name.endswith(BF16)
    return [str(Path(sys.executable).with_name("fairseq-train")), str(Path(args.data).resolve()), *options]


def words_per_second(name, args, dropout):
    """Run one contestant and return the words per second of its whole training, as fairseq logs them."""
    with tempfile.TemporaryDirectory() as folder:
        line = [*command(name, args, dropout), "--save-dir", folder]
        run = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    output = (run.stdout + run.stderr).splitlines()
    logged = [text[text.index("{") :] for text in output if "train_wps" in text]
    if not logged:
        sys.exit(f"error: {name} did not train: {output[-1]}")
    return float(json.loads(logged[-1])["train_wps"])


def main():
    args = parse()
    from measure import ratios, save, summary, times

    rows, names = [], [PEER, *args.variant, *(variant + BF16 for variant in args.variant if args.autocast)]
    for dropout in args.dropout:
        rates = {name: [] for name in names}
        for _ in range(args.repeats):
            for name in names:
                rates[name].append(words_per_second(name, args, dropout))
        for name in names:
            speedup = summary(ratios(rates[name], rates[PEER]))
            rows.append(dict(dropout=dropout, variant=name, words_per_second=summary(rates[name]), speedup=speedup))
            print(
                f"{args.shape:10} dropout {dropout:<4} {name:19} {summary(rates[name])['median']:8.0f} words/s   "
                f"{times(speedup)}",
                flush=True,
            )
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "shape": args.shape, "rows": rows}))


if __name__ == "__main__":
    main()
