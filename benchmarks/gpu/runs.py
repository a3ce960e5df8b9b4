"""Short runs of fairseq-train in each precision. Their losses agree, and a resumed run ends like an unbroken one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PRECISIONS = {  # name: options, largest relative gap of the loss from float32's
    "float32": ([], 0.0),
    "mixed-precision": (["--mixed-precision", "bf16"], 0.01),
    "bf16": (["--bf16"], 0.02),
    "fp16": (["--fp16"], 0.02),
    "amp": (["--amp"], 0.02),
}
WORDS = (
    "{data} --user-dir {plugins} --task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta_{size} "
    "--positions alibi --head clap --dropout 0 --attention-dropout 0 --tokens-per-sample {tokens} --batch-size {rows} "
    "--optimizer fused_adamw --clip-norm 1 --lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 10 "
    "--total-num-update {total} --seed 1 --num-workers 2 --log-format json --log-interval {every} "
    "--save-interval 1000000 --validate-interval 1000000 --no-epoch-checkpoints --save-dir {save_dir} "
    "--max-update {updates}"
)


def updates_of(table) -> int:
    return 20 if table.tiny else 60


def train(table):
    """Train on a small text in each precision, and resume one run."""
    root = table.output / "train"
    data = prepare(root / "data")
    reference = None
    for name, (options, most) in PRECISIONS.items():
        if table.device == "cpu" and name not in ("float32", "mixed-precision"):
            continue
        if table.out_of_time("train", precision=name):
            continue
        with table.row("train", precision=name):
            row = run(table, data, root / name, options, updates_of(table))
            reference = reference or row["last_loss"]
            gap = row["last_loss"] / reference - 1
            learns = row["last_loss"] < row["first_loss"]
            table.add("train", learns and abs(gap) <= most, precision=name, **row, against_float32=gap)
    if not table.out_of_time("train", precision="mixed-precision, resumed"):
        with table.row("train", precision="mixed-precision, resumed"):
            options = PRECISIONS["mixed-precision"][0]
            run(table, data, root / "resumed", options, updates_of(table) // 2, save=True)
            row = run(table, data, root / "resumed", options, updates_of(table))
            want = next(r for r in table.rows if r.get("precision") == "mixed-precision" and "last_loss" in r)
            gap = row["last_loss"] / want["last_loss"] - 1
            table.add("train", abs(gap) < 5e-3, precision="mixed-precision, resumed", **row, against_unbroken=gap)


def prepare(folder: Path) -> Path:
    """Write a data folder: a Zipf-distributed Markov chain, in which each word has eight likely successors."""
    import numpy as np
    from fairseq.data import indexed_dataset

    folder.mkdir(parents=True, exist_ok=True)
    words, generator = 2000, np.random.default_rng(1)
    likely = generator.zipf(1.3, (words, 8)) % words
    (folder / "dict.txt").write_text("".join(f"w{i} 1\n" for i in range(words)))
    import torch

    for split, lines in (("train", 4000), ("valid", 50)):
        path = folder / split
        builder = indexed_dataset.make_builder(f"{path}.bin", impl="mmap", vocab_size=words + 4)
        word = generator.integers(words, size=lines)
        choice = generator.integers(8, size=(lines, 512))
        text = np.empty((lines, 512), dtype=np.int64)
        for i in range(512):
            word = text[:, i] = likely[word, choice[:, i]]
        for line in text:
            builder.add_item(torch.from_numpy(line + 4))
        builder.finalize(f"{path}.idx")
    return folder


def run(table, data: Path, save_dir: Path, options: list[str], updates: int, save: bool = False) -> dict[str, float]:
    """Run fairseq-train to a number of updates; return its losses in bits and its speed.

    Raises:
        RuntimeError: it failed; the message is the end of its output.
    """
    import plugins

    size, tokens, rows, every = ("tiny", 32, 16, 2) if table.tiny else ("base", 512, 32, 10)
    words = WORDS.format(
        data=data, plugins=Path(plugins.__file__).parent, size=size, tokens=tokens, rows=rows, every=every,
        total=updates_of(table), save_dir=save_dir, updates=updates,
    ).split()  # fmt: skip
    words += [*options, *["--cpu"] * table.tiny, *["--no-save", "--disable-validation"] * (not save)]
    start = time.monotonic()
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", "from fairseq_cli.train import cli_main; cli_main()", *words],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(" ".join((done.stdout + done.stderr).splitlines()[-3:])[-400:])
    found = [line for line in (done.stdout + done.stderr).splitlines() if '"loss"' in line and '"wps"' in line]
    records = [json.loads(line[line.index("{") :]) for line in found]
    return {
        "first_loss": float(records[0]["loss"]), "last_loss": float(records[-1]["loss"]),
        "words_per_second": float(records[-1]["wps"]), "seconds": time.monotonic() - start,
    }  # fmt: skip
