"""Pretrain the grid head x dropout x embedding layer norm x positions, over several seeds, and print its table.

The published learned-clap differs from the published baseline in three things at once: its head, its dropout and its
embedding layer norm. This takes them apart. Runs that are finished are not done again.

    python scripts/prepare_mlm.py --train TEXT --valid TEXT -o data-bin/wikitext-2
    python scripts/mlm_grid.py data-bin/wikitext-2 -o checkpoints/grid
"""

import argparse
import itertools
import json
import os
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
AXES = {  # axis: {level: options of fairseq-train}
    "positions": {"learned": "--positions learned", "alibi": "--positions alibi"},
    "head": {"roberta": "--head roberta", "clap": "--head clap"},
    "dropout": {
        "0.1": "--dropout 0.1 --attention-dropout 0.1",
        "0": "--dropout 0 --attention-dropout 0",
    },
    "embedding layer norm": {"yes": "--layernorm-embedding", "no": "--no-layernorm-embedding"},
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data folder made by scripts/prepare_mlm.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for a log a run, and results.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=32, help="blocks an update")
    parser.add_argument("--tokens", type=int, default=64, help="tokens a block")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--valid-steps", type=int, default=20, help="validation batches")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each")
    return parser.parse_args()


def command(args, cell, seed):
    options = f"""--task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta_tiny --cpu
        --optimizer fused_adamw --weight-decay 0.01 --clip-norm 1 --lr {args.lr} --lr-scheduler polynomial_decay
        --warmup-updates {args.updates // 10} --total-num-update {args.updates} --max-update {args.updates}
        --tokens-per-sample {args.tokens} --batch-size {args.batch_size} --num-workers 0
        --max-valid-steps {args.valid_steps} --no-save --log-format json --log-interval 50 --seed {seed}
        {" ".join(AXES[axis][level] for axis, level in zip(AXES, cell, strict=True))}"""
    return [str(args.data), "--user-dir", str(ROOT / "plugins"), *options.split()]


def run(args, cell, seed):
    """Do one run, unless its log is complete, and return its validation perplexity."""
    from plugins.launch import fairseq_train

    name = f"{'_'.join(cell)}_{seed}"
    log = args.output / f"{name}.log"
    if finished(log, args.updates) is None:
        log.unlink(missing_ok=True)
        arguments = [*command(args, cell, seed), "--save-dir", str(args.output / "unused")]
        fairseq_train(arguments, log, title=name, updates=args.updates, threads=1)
    return finished(log, args.updates)


def finished(log, updates):
    """Return the last validation perplexity of a log that reaches the last update, or None."""
    from plugins.analysis import runs

    if not log.exists():
        return None
    with log.open() as lines:
        steps, values = runs.curve(runs.read_log(lines), "ppl")
    return float(values[-1]) if len(steps) and steps[-1] >= updates else None


def table(results):
    """Return the results as a Markdown table, mean and standard deviation over seeds."""
    head = [*AXES, "validation perplexity"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for cell, values in results.items():
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        lines.append("| " + " | ".join([*cell, f"{statistics.mean(values):.1f} ± {spread:.1f}"]) + " |")
    return "\n".join(lines)


def main():
    args = parse()
    from tqdm import tqdm

    from plugins.errors import report_in_one_line

    report_in_one_line()
    args.output.mkdir(parents=True, exist_ok=True)
    cells = list(itertools.product(*AXES.values()))
    todo = [(cell, seed) for seed in args.seeds for cell in cells]
    results = {cell: [] for cell in cells}
    with ThreadPoolExecutor(args.jobs) as pool:
        perplexities = pool.map(lambda item: run(args, *item), todo)
        for (cell, _), perplexity in zip(todo, tqdm(perplexities, total=len(todo), unit="run"), strict=True):
            results[cell].append(perplexity)
    rows = [dict(zip(AXES, cell, strict=True), perplexity=values) for cell, values in results.items()]
    (args.output / "results.json").write_text(json.dumps({"command": " ".join(sys.argv), "rows": rows}, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
