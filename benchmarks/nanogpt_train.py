"""Time whole training runs: ``fairseq-train --task char_lm`` against nanoGPT's own ``train.py``, at its laptop size.

Both are the real command lines on the same text (4 layers x 128, block 64, batch 12, float32, no compiler), in turn,
each with its own evaluation and checkpoints: nanoGPT's as its README has them, ours by default. Two measures, ratios
taken pair by pair, above 1 if ours is faster: characters per second between two updates, by the arrival of their log
lines; and the seconds of the whole process, from its start to its end. Characters per second are of training
alone if neither side evaluates between the two updates: give ``--eval-interval`` a larger number than the last.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/nanogpt_train.py nanoGPT tinyshakespeare.txt --updates 500 --eval-interval 1000 --repeats 3
    python benchmarks/nanogpt_train.py nanoGPT tinyshakespeare.txt --updates 2000
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BATCH, BLOCK = 12, 64
PEER, OURS = "nanoGPT", "fairseq-train"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nanogpt", help="a clone of nanoGPT")
    parser.add_argument("text", help="UTF-8 file")
    parser.add_argument("--updates", type=int, default=2000, help="of a run (default: 2000)")
    parser.add_argument("--between", type=int, nargs=2, default=[100, 500], help="updates (default: 100 500)")
    parser.add_argument("--eval-interval", type=int, help="updates (default: nanoGPT 250, ours 1000)")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def prepare(args, folder):
    """Copy nanoGPT, with the text as its data set, and encode it."""
    shutil.copytree(args.nanogpt, folder, dirs_exist_ok=True)
    data = folder / "data" / "shakespeare_char"
    shutil.copy(args.text, data / "input.txt")
    subprocess.run([sys.executable, data / "prepare.py"], check=True, capture_output=True)


def command(name, args, folder, save_dir):
    """Return a command line and the folder it runs in."""
    if name == PEER:  # the options of its README for a computer without a GPU
        options = f"""config/train_shakespeare_char.py --device=cpu --compile=False --dtype=float32 --eval_iters=20
            --eval_interval={args.eval_interval or 250} --log_interval=100 --block_size={BLOCK} --batch_size={BATCH}
            --n_layer=4 --n_head=4 --n_embd=128 --max_iters={args.updates} --lr_decay_iters={args.updates}
            --dropout=0.0 --out_dir={save_dir}"""
        return [sys.executable, "-u", "train.py", *options.split()], folder
    options = f"""--user-dir plugins --task char_lm --arch char_lm_nano --max-update {args.updates} --log-interval 100
        --log-format json --seed 1 --cpu --save-dir {save_dir}"""
    if args.eval_interval:
        options += f" --validate-interval-updates {args.eval_interval} --save-interval-updates {args.eval_interval}"
    program = Path(sys.executable).with_name("fairseq-train")
    return [sys.executable, "-u", program, Path(args.text).resolve(), *options.split()], ROOT


def run(name, args, folder):
    """Train once and return the characters per second between the two updates, and the seconds of the process."""
    pattern = re.compile(r"^iter (\d+): loss" if name == PEER else r'train_inner.*"num_updates": "(\d+)"')
    arrived, lines = {}, []
    with tempfile.TemporaryDirectory() as save_dir:
        words, where = command(name, args, folder, save_dir)
        begin = time.perf_counter()
        with subprocess.Popen(words, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout:
                lines.append(line)
                if found := pattern.search(line):
                    arrived[int(found[1])] = time.perf_counter()
        seconds = time.perf_counter() - begin
    first, last = args.between
    if process.returncode or not {first, last} <= arrived.keys():
        sys.exit(f"error: {name} did not train to update {last}: {''.join(lines[-3:]).strip()}")
    return (last - first) * BATCH * BLOCK / (arrived[last] - arrived[first]), seconds


def main():
    args = parse()
    from measure import ratios, save, summary

    runs = {PEER: [], OURS: []}
    with tempfile.TemporaryDirectory() as folder:
        prepare(args, Path(folder))
        for _ in range(args.repeats):
            for name, done in runs.items():
                done.append(run(name, args, Path(folder)))
    rows = []
    for name, done in runs.items():
        speeds, seconds = zip(*done, strict=True)
        theirs, their_seconds = zip(*runs[PEER], strict=True)
        faster, shorter = summary(ratios(speeds, theirs)), summary(ratios(their_seconds, seconds))
        rows.append({"contestant": name, "characters_per_second": summary(speeds), "seconds": summary(seconds),
                     "speed_ratio": faster, "time_ratio": shorter})  # fmt: skip
        print(
            f"{name:14} {rows[-1]['characters_per_second']['median']:8.0f} characters/s from update {args.between[0]} "
            f"to {args.between[1]}, x {faster['median']:.2f}   {rows[-1]['seconds']['median']:6.1f} s for "
            f"{args.updates} updates, x {shorter['median']:.2f}",
            flush=True,
        )
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "updates": args.updates, "rows": rows}))


if __name__ == "__main__":
    main()
