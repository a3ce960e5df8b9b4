#!/usr/bin/env python3
"""Time and memory of the diagnostics of a million rows, and their cost compared with cleanlab's and with two models.

    python benchmarks/diagnostics.py --rows 1000000
    python benchmarks/diagnostics.py --recipe --rows 700 --repeats 1  # against the two models of the published method
    pip install -r requirements/bench.txt     # for the ratio to cleanlab

Rows are generated: three classes, words by Zipf's law, a word in every ninth row that gives the label away, and 4 %
exact or near duplicates. The published method (Ethayarajh et al., 2022) trains a model of all rows and one of the empty
input, and evaluates another split. diagnose.py trains a model for each fold and evaluates every row; its prediction
without the input needs no model. Compare seconds of the processor, since wall time depends on what else runs.
"""

import argparse
import dataclasses
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "checkpoints" / "zero_clap_tiny"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="(%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of a measurement (%(default)s)")
    parser.add_argument("--recipe", action="store_true", help="fine-tune checkpoints/zero_clap_tiny: folds, two models")
    parser.add_argument("--folds", type=int, default=5, metavar="F", help="with --recipe (%(default)s)")
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="with --recipe (%(default)s)")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if args.recipe:
        print(json.dumps(against_two_models(args.rows, args.folds, args.epochs, args.repeats), indent=1))
        return
    found = {"rows": args.rows, "confident learning": confident_learning(args.rows, args.repeats)}
    with tempfile.TemporaryDirectory() as folder:
        found["scripts/inspect_data.py"] = inspected(Path(folder), args.rows)
    print(json.dumps(found, indent=1))


def confident_learning(rows, repeats):
    """Return the median seconds of ours and of cleanlab's flags for the same probabilities (rows, 3)."""
    from plugins.diagnostics import confident

    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3, 0.3, 0.3], rows)
    labels = (probabilities.cumsum(1) > random.random((rows, 1))).argmax(1)
    ours = [timed(lambda: confident.issues(probabilities, labels)) for _ in range(repeats)]
    result = {"seconds": float(np.median(ours))}
    try:
        from cleanlab import filter as theirs
    except ImportError:
        return result
    other = [timed(lambda: theirs.find_label_issues(labels, probabilities, n_jobs=1)) for _ in range(repeats)]
    return result | {"cleanlab_seconds": float(np.median(other)), "ratio": float(np.median(other) / np.median(ours))}


def timed(function):
    began = time.process_time()
    function()
    return time.process_time() - began


def inspected(folder, rows):
    """Return processor seconds, wall seconds and peak memory of scripts/inspect_data.py on generated rows."""
    write_rows(folder / "rows.tsv", rows)
    words = [sys.executable, ROOT / "scripts" / "inspect_data.py", folder / "rows.tsv", "-o", folder / "out"]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*map(str, words)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"processor_seconds": used, "wall_seconds": time.monotonic() - began, "peak_gb": after.ru_maxrss / 1e6}


def against_two_models(count, folds, epochs, repeats):
    """Return processor and wall seconds of the whole command diagnose.py, and of the two published models.

    The starts of fairseq are included, two runs at a time. Two models give the information of rows that they were not
    trained on, so of another split, and nothing else; their predictions of that split are not counted.
    """
    found = {"diagnose.py": [], "diagnose.py --stacked": [], "two models": []}
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder) / "rows.tsv", count)
            words = [sys.executable, ROOT / "scripts" / "diagnose.py", "--data", Path(folder) / "rows.tsv",
                     "--checkpoint", CHECKPOINT, "--folds", folds, "--seeds", repeat + 1, "--epochs", epochs, "--lr",
                     "5e-4", "--batch-size", 32, "--cpu", "--cache-dir", "none", "--no-figures"]  # fmt: skip
            for name, more in (("diagnose.py", ["--jobs", 2]), ("diagnose.py --stacked", ["--stacked"])):
                command = [str(word) for word in (*words, *more, "-o", Path(folder) / name.split()[-1])]
                run = functools.partial(subprocess.run, command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
                found[name].append(reported(name, used(run)))
            theirs = used(lambda: two_models(Path(folder), repeat + 1, epochs))  # noqa: B023
            found["two models"].append(reported("two models", theirs))
    ours, stacked, theirs = (np.array(runs)[:, 0] for runs in found.values())
    return {
        "rows": count, "folds": folds, "seeds": 1, "epochs": epochs, "processor_and_wall_seconds": found,
        "ratio": float(np.median(ours / theirs)), "ratio_stacked": float(np.median(stacked / theirs)),
    }  # fmt: skip


def reported(name, seconds):
    """Print processor and wall seconds to stderr, so that an interrupted benchmark is not lost, and return them."""
    print(f"{name}: {seconds[0]:.1f} processor seconds, {seconds[1]:.1f} in all", file=sys.stderr, flush=True)
    return seconds


def two_models(folder, seed, epochs):
    """Train a model of all rows but one, and another of the empty input."""
    from plugins.diagnostics import datasets
    from plugins.glue import cross_fitting
    from plugins.glue.cross_fitting import NEVER_HELD_OUT, Cell
    from plugins.jobs import Resources

    rows = cross_fitting.train_and_valid(datasets.read_files([folder / "rows.tsv"]))
    nothing = dataclasses.replace(rows, texts=[[""] * len(rows)])
    one = np.where(np.arange(len(rows)), NEVER_HELD_OUT, 0)
    cells = [Cell("all", rows, one), Cell("empty", nothing, one)]
    given = {"epochs": epochs, "lr": [5e-4], "batch_size": [32], "options": None}
    setting = cross_fitting.Setting(folder / "two", CHECKPOINT / "checkpoint_best.pt", [seed], given, {}, True, None)
    cross_fitting.run(cells, setting, Resources(at_a_time=2, threads=1, cpu=True))


def used(function):
    """Return the processor seconds of this process and its children, and the wall seconds, of a function."""
    own, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    total = lambda: sum(sum(resource.getrusage(who)[:2]) for who in (own, children))  # noqa: E731
    before, began = total(), time.monotonic()
    function()
    return total() - before, time.monotonic() - began


def write_rows(path, rows):
    random = np.random.default_rng(0)
    size = 60_000
    shares = 1 / np.arange(1, size + 1)
    words = np.array([f"{chr(97 + i % 26)}{i:x}or{i % 7}" for i in range(size)])
    lengths, labels = random.integers(6, 24, rows), random.integers(3, size=rows)
    flat = words[random.choice(size, lengths.sum(), p=shares / shares.sum())]
    with path.open("w") as file:
        file.write("label\ttext\n")
        end, before = 0, ""
        for i, (length, label) in enumerate(zip(lengths.tolist(), labels.tolist(), strict=True)):
            text, end = " ".join(flat[end : end + length]), end + length
            text = {7: before, 9: before + " x"}.get(i % 50, text) or text
            text = f"wl{label} {text}" if i % 9 == 0 else text
            before = text
            file.write(f"{'abc'[label]}\t{text}\n")


if __name__ == "__main__":
    main()
