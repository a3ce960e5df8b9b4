"""Time text embeddings against sentence-transformers: training, encoding, and the memory of both.

Both have a RoBERTa of the same shape, weights and token ids (the model is written by
``plugins.hub.export_sentence_transformers``; equal vectors are checked first), mean pooling, and texts of mixed length:
from 3 to 180 words, the median being 24. Encoding starts from strings, tokenization included, and alternates in one
process. Training is ``fairseq-train --task embedding`` against ``SentenceTransformerTrainer``, each in a process of its
own, in turn: the training loop, and on our side the time of tokenization too, because the peer tokenizes in the loop;
no validation and no checkpoint. The first turn of each is not counted. Ratios are taken pair by pair: above 1, ours is
faster. Memory is the peak resident memory of a process, its libraries included.

    python scripts/demo_mlm.py --variants baseline --updates 1 -o checkpoints/bench      # a dictionary and a tokenizer
    pip install -r requirements/hf.txt -r requirements/bench.txt
    python benchmarks/embedding.py TEXTS --tokenizer-dir checkpoints/bench/data --repeats 5
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest.mock
from pathlib import Path

from embedding_data import LOSSES, SIZES, WORDS, build, draw_texts, options

ROOT = Path(__file__).parent.parent
OURS, PEER = "ours", "sentence-transformers"


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", help="folder of CLASS.txt files")
    parser.add_argument("--tokenizer-dir", required=True, help="folder with dict.txt and a tokenizer")
    parser.add_argument("--shape", default="small", choices=SIZES)
    parser.add_argument("--parts", nargs="+", default=["encode", *LOSSES], choices=["encode", *LOSSES])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--updates", type=int, default=20, help="of a training (default: 20)")
    parser.add_argument("--encoded", type=int, default=512, help="texts that are encoded (default: 512)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "PART", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


# Encoding


def encoders(args, folder, sides=(OURS, PEER)):
    """Return {side: function from texts to vectors}."""
    found = {}
    if OURS in sides:
        import plugins.hub

        own = plugins.hub.load(folder / "ours")
        found[OURS] = lambda texts: own.encode(texts, args.batch_size, progress=False)
    if PEER in sides:
        from sentence_transformers import SentenceTransformer

        other = SentenceTransformer(str(folder / "peer"), device="cpu")
        found[PEER] = lambda texts: other.encode(texts, batch_size=args.batch_size, show_progress_bar=False)
    return found


def encode(args, folder):
    """Compare encoding; print and return a row."""
    import numpy as np
    import torch
    from measure import interleaved, ratios, summary

    import plugins.hub

    texts = json.loads((folder / "texts.json").read_text())
    sides = encoders(args, folder)
    own, other = (sides[side](texts) for side in (OURS, PEER))
    difference = float(np.abs(own - other).max() / np.abs(other).max())
    if difference > 1e-4:
        sys.exit(f"error: not the same vectors: they differ by {difference:.2g} of the largest value")
    half = plugins.hub.load(folder / "ours").to(dtype=torch.bfloat16)
    sides["ours, bfloat16"] = lambda texts: half.encode(texts, args.batch_size, progress=False)
    rounded = sides["ours, bfloat16"](texts)
    seconds = interleaved({side: lambda run=run: run(texts) for side, run in sides.items()}, args.repeats, 1)
    row = {
        "part": "encode", "largest_difference": difference,
        "bfloat16_cosine": float(np.mean((rounded * own).sum(1) / np.linalg.norm(rounded, axis=1)
                                         / np.linalg.norm(own, axis=1))),
        "texts_per_second": {side: len(texts) / summary(values)["median"] for side, values in seconds.items()},
        "speedup": summary(ratios(seconds[PEER], seconds[OURS])),
        "bfloat16_speedup": summary(ratios(seconds[OURS], seconds["ours, bfloat16"])),
        "peak_mb": {side: memory(side, folder) for side in (OURS, PEER)},
    }  # fmt: skip
    show(row)
    return row


def memory(side, folder):
    """Return the peak memory in MB of a process that encodes the texts."""
    with process(side, "encode", folder) as running:
        return again(running, side, "encode")["peak_mb"]


# Training


def train(args, kind, folder):
    """Compare training with a loss; print and return a row."""
    from measure import ratios, summary

    found = {PEER: [], OURS: []}
    with contextlib.ExitStack() as stack:
        sides = {side: stack.enter_context(process(side, kind, folder)) for side in found}
        for repeat in range(-1, args.repeats):
            for side, running in sides.items():
                result = again(running, side, kind)
                if repeat >= 0:
                    found[side].append(result)
    seconds = {side: [run["seconds"] for run in runs] for side, runs in found.items()}
    texts = args.updates * args.batch_size * (2 if kind == "pairs" else 1)
    row = {
        "part": kind, "loss": LOSSES[kind], "speedup": summary(ratios(seconds[PEER], seconds[OURS])),
        "texts_per_second": {side: texts / summary(values)["median"] for side, values in seconds.items()},
        "peak_mb": {side: runs[-1]["peak_mb"] for side, runs in found.items()},
    }  # fmt: skip
    show(row)
    return row


def show(row):
    from measure import times

    speed, memory, ratio = row["texts_per_second"], row["peak_mb"], row["speedup"]
    print(
        f"{row['part']:8} {speed[PEER]:7.1f} -> {speed[OURS]:7.1f} texts/s   {times(ratio)}   "
        f"{memory[PEER]:6.0f} -> {memory[OURS]:6.0f} MB",
        flush=True,
    )


# One side, in a process of its own


@contextlib.contextmanager
def process(side, part, folder):
    """Start a process that does a part each time it reads a line, and end it afterwards."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side, part, folder]
    with tempfile.TemporaryFile("w+") as log:
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        running.log = log
        try:
            yield running
        finally:  # an error of the other side ends this one too
            with contextlib.suppress(BrokenPipeError):
                running.stdin.close()
            running.wait()


def again(running, side, part):
    """Make a process do its part once; return its peak memory, and the seconds of a training."""
    with contextlib.suppress(BrokenPipeError):  # a process that has ended has no line either
        running.stdin.write("\n")
        running.stdin.flush()
    line = running.stdout.readline()
    if not line:
        running.log.seek(0)
        sys.exit(f"error: {side}, {part}: {running.log.read().splitlines()[-1]}")
    return json.loads(line)


def be_side(args, side, part, folder):
    """Do a part once for each line of standard input; print the peak memory of this process, and the seconds."""
    from measure import peak_memory_of_process

    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not a result
    work = {"encode": encode_once, OURS: train_ours, PEER: train_peer}["encode" if part == "encode" else side]
    for _ in sys.stdin:
        seconds = work(args, side if part == "encode" else part, folder)
        print(json.dumps({"seconds": seconds, "peak_mb": peak_memory_of_process()}), file=results, flush=True)


def encode_once(args, side, folder):
    """Encode the texts, after loading the model."""
    encoders(args, folder, (side,))[side](json.loads((folder / "texts.json").read_text()))


def train_ours(args, kind, folder):
    """Run ``fairseq-train``; return the seconds of its loop and of reading and tokenizing the rows."""
    import fairseq_cli.train

    from plugins.tasks.embedding import EmbeddingTask

    more = ["--finetune-from-model", str(folder / "ours" / "checkpoint_last.pt"), "--no-save"]
    sys.argv = ["fairseq-train", *options(args, folder, kind, folder / "unused"), *more]
    sys.argv += ["--max-update", str(args.updates)]
    with timed(EmbeddingTask, "load_dataset") as reading, timed(fairseq_cli.train, "train") as training:
        fairseq_cli.train.cli_main()
    return sum(reading + training)


@contextlib.contextmanager
def timed(place, name):
    """Yield a list to which each call of a function appends its seconds."""
    function, seconds = getattr(place, name), []

    def call(*given, **more):
        start = time.perf_counter()
        found = function(*given, **more)
        seconds.append(time.perf_counter() - start)
        return found

    with unittest.mock.patch.object(place, name, call):
        yield seconds


def train_peer(args, kind, folder):
    """Train with sentence-transformers; return the seconds of its loop."""
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer import losses

    model = SentenceTransformer(str(folder / "peer"), device="cpu")
    lines = [line.split("\t") for line in (folder / kind / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    first, second = zip(*lines, strict=True)
    if kind == "labeled":
        names = sorted(set(second))
        rows = {"text": list(first), "label": [names.index(name) for name in second]}
        loss, sampler = losses.BatchHardSoftMarginTripletLoss(model), "group_by_label"
    else:
        rows = {"anchor": list(first), "positive": list(second)}
        loss, sampler = losses.MultipleNegativesRankingLoss(model), "batch_sampler"
    with tempfile.TemporaryDirectory() as output:
        given = Arguments(
            output, per_device_train_batch_size=args.batch_size, max_steps=args.updates, learning_rate=1e-5,
            max_grad_norm=1.0, lr_scheduler_type="constant", optim="adamw_torch_fused", save_strategy="no",
            logging_strategy="no", report_to=[], use_cpu=True, seed=1, disable_tqdm=True, dataloader_num_workers=0,
            batch_sampler=sampler,
        )  # fmt: skip
        # A given fingerprint: datasets 5.2 cannot compute one with some versions of pyarrow.
        data = Dataset(InMemoryTable.from_pydict(rows), fingerprint="rows")
        trainer = SentenceTransformerTrainer(model, given, train_dataset=data, loss=loss)
        return trainer.train().metrics["train_runtime"]


def main():
    args = parse()
    sys.path.insert(0, str(ROOT))
    if args.side:
        side, part, folder = args.side
        be_side(args, side, part, Path(folder))
        return
    from importlib.metadata import version

    from measure import save

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        draw_texts(args, folder)
        build(args, folder)
        for part in args.parts:
            rows.append(encode(args, folder) if part == "encode" else train(args, part, folder))
            if args.save:  # after each part, because all take a while
                peer = {name: version(name) for name in ("sentence-transformers", "transformers", "torch")}
                settings = {name: getattr(args, name) for name in ("shape", "batch_size", "updates", "encoded")}
                command = " ".join(["benchmarks/embedding.py", *sys.argv[1:]])
                path = save(args.save, {"command": command, "peer": peer, **settings, "words": WORDS, "rows": rows})
    if args.save:
        print("written:", path)


if __name__ == "__main__":
    main()
