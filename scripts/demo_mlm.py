#!/usr/bin/env python3
"""Pretrain four small masked language models with fairseq-train and compare them, in about five minutes on a CPU.

    python scripts/demo_mlm.py
    python scripts/demo_mlm.py --data my.txt more.jsonl -o checkpoints/mine

Text becomes a data folder, each model is trained by the command line that its train.log begins with, and a
table, some filled masks and a plot say what came out. What is already done is not done again.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# All four as published, but for their size: see README.md.
VARIANTS = {
    "baseline": "--head roberta",
    "learned-clap": "--head clap --no-layernorm-embedding",
    "alibi": "--head roberta --positions alibi",
    "zero-clap": "--head clap --positions alibi --omit-mask --scale-embeddings --no-layernorm-embedding",
}
# Less than one pass over the text, so no dropout; many small batches, because few large ones learn only frequencies.
RECIPE = (
    "--user-dir {root}/plugins --cpu --task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta_tiny "
    "--dropout 0 --attention-dropout 0 --tokens-per-sample 64 --batch-size 16 --optimizer fused_adamw "
    "--weight-decay 0.01 --clip-norm 1 --lr 3e-3 --lr-scheduler polynomial_decay --seed 1 --num-workers 0 "
    "--log-format json --no-epoch-checkpoints --keep-interval-updates 1 --save-interval 1000000 "
    "--validate-interval 1000000"
)
UPDATES, VALIDATIONS, VOCABULARY = 500, 10, 2000
MOST_TEXT = 20_000_000  # bytes read of the user's text: more than the updates can use
VALID_TEXT = 100_000  # bytes, about: enough for two digits of perplexity
SENTENCES = [
    "This function returns the number of <mask> in the list.",
    "You may distribute copies of the software under the terms of this <mask>.",
    "If the file does not <mask>, an error is raised.",
]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--data", nargs="+", metavar="FILE", help="text, plain UTF-8 or .jsonl (default: prose in this installation)")
    add("--jsonl-key", default="text", metavar="KEY", help="field of .jsonl records to read (default: %(default)s)")
    add("--vocab-size", type=int, default=VOCABULARY, metavar="N", help="symbols at most (default: %(default)s)")
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help=", ".join(VARIANTS))
    add("--updates", type=int, default=UPDATES, metavar="N", help="of each model (default: %(default)s)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(cores, 4)  # matrices of this size gain nothing from more
    add("--threads", type=int, default=threads, metavar="N", help="CPU threads (default: %(default)s)")
    add("--force", action="store_true", help="start over, even what is already done")
    add("-o", "--output", default="checkpoints/demo", metavar="DIR", help="folder to write (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("updates", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, but is {getattr(args, name)}")
    args.variants = list(dict.fromkeys(args.variants))
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    start, output = time.monotonic(), Path(args.output)
    print("loading fairseq", flush=True)
    import plugins  # noqa: F401  (seconds, so not before the arguments are checked)
    from plugins.errors import report_in_one_line

    report_in_one_line()
    data = prepare(args, output)
    train(args, output, data)
    report(args, output, data)
    print(f"\n{time.monotonic() - start:.0f} s in all with --threads {args.threads}; everything is in {output}/")


# ---- text to data folder -------------------------------------------------------------------------


def prepare(args: argparse.Namespace, output: Path) -> dict:
    """Make OUTPUT/data unless it is there, and return what is known about it."""
    from plugins.data.mlm.folder import check_output
    from plugins.files import write_json

    note = output / "data.json"
    files = [[str(path), *fingerprint(Path(path))] for path in map(os.path.abspath, args.data or [])]
    options = {"files": files, "jsonl_key": args.jsonl_key, "vocab_size": args.vocab_size}
    known = read_json(note)
    if not args.force and known.get("options") == options and (output / "data" / "train.idx").exists():
        print(f"{output}/data is there already")
        return known
    print(f"reading {', '.join(args.data) if args.data else 'the prose in this installation'}", flush=True)
    check_output(output / "data", force=True)
    facts = {"options": options, **write_data(args, output / "data")}
    write_json(note, facts, indent=1)
    print(f"{output}/data: {facts['train_tokens']:,} tokens, {facts['valid_tokens']:,} to validate on")
    return facts


def fingerprint(path: Path) -> list[int]:
    """Return what changes when a file does; its absence is reported when it is read."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []


def write_data(args: argparse.Namespace, folder: Path) -> dict:
    """Read the text, train a sentencepiece model, binarise; return the sizes and the unigram perplexity."""
    from plugins.data.mlm.folder import split_documents, write_mlm_folder
    from plugins.data.text.documents import embedded_corpus, read_documents
    from plugins.data.text.tokenizers import SentencePieceTokenizer

    documents = list(embedded_corpus()) if not args.data else pieces(read_documents(args.data, args.jsonl_key))
    size = sum(len(document.encode()) for document in documents)
    train, valid = split_documents(documents, min(0.1, VALID_TEXT / size))
    lines = [line for document in train for line in document.split("\n")]
    print(f"training a sentencepiece model on {size / 1e6:.1f} MB, then binarising", flush=True)
    tokenizer = SentencePieceTokenizer.train(lines, args.vocab_size, exact=False)
    splits = {"train": train, "valid": valid}
    reports = write_mlm_folder(folder, splits, tokenizer, workers=args.threads, force=True)
    return {f"{r.split}_tokens": r.tokens for r in reports} | {
        "unigram_perplexity": unigram(folder),
        "sentences": masked_lines(valid) if args.data else SENTENCES,
    }


def masked_lines(documents: list[str]) -> list[str]:
    """Return three lines of moderate length, the same for the same text, with the middle word of each masked."""
    lines = [line.split() for document in documents for line in document.split("\n")]
    lines = [words for words in lines if "<mask>" not in words]
    middling = sorted(lines, key=lambda words: abs(len(words) - 12))[:3]
    return [" ".join(w if i != len(words) // 2 else "<mask>" for i, w in enumerate(words)) for words in middling]


def pieces(documents) -> list[str]:
    """Return the documents, up to a limit, cut at line ends if they are too few to set some aside."""
    from plugins.errors import UserError

    kept, size = [], 0
    for document in documents:
        kept.append(document)
        size += len(document.encode())
        if size > MOST_TEXT:
            print(f"using the first {MOST_TEXT // 10**6} MB of it")
            break
    if len(kept) >= 20:
        return kept
    lines = "\n".join(kept).split("\n")
    if len(lines) < 2:
        raise UserError("the text is a single line; put each sentence or paragraph on a line of its own")
    step = -(-len(lines) // 100)
    return ["\n".join(lines[i : i + step]) for i in range(0, len(lines), step)]


def unigram(folder: Path) -> float:
    """Return the perplexity of the validation text under the frequencies of the training text."""
    import numpy as np

    from plugins.analysis.runs.curves import unigram_perplexity
    from plugins.data.dictionaries import MaskDictionary
    from plugins.tasks.clap_masked_lm import load_lines

    dictionary = MaskDictionary.load(str(folder / "dict.txt"))
    counts = []
    for split in ("train", "valid"):
        lines = load_lines(str(folder / split), dictionary, combine=False)
        counts.append(sum(np.bincount(line, minlength=len(dictionary)) for line in lines))
    return unigram_perplexity(*counts)


# ---- training ------------------------------------------------------------------------------------


def train(args: argparse.Namespace, output: Path, data: dict) -> None:
    """Train the models with fairseq-train, one after the other; skip finished ones, resume interrupted ones."""
    from plugins.jobs import Job, Resources, Runner

    jobs = []
    for name in args.variants:
        options = command(args, name, output)
        identity = {"recipe": options, "data": data}
        words = ("fairseq-train", *options)
        jobs.append(Job(name, words, args.updates, identity, checkpoints=("checkpoint_best.pt",), finish=drop_stages))
    resources = Resources(threads=args.threads)
    with Runner(output, resources, total=len(jobs), changed="redo", fresh=args.force, title="models") as runner:
        done = runner.done(jobs)
        for name in args.variants:
            folder = output / name
            state = "resuming" if (folder / "checkpoint_last.pt").exists() and not args.force else "training"
            what = "finished already" if name in done else f"{state}, {args.updates} updates"
            print(f"{name}: {what} (log: {folder / 'train.log'})", flush=True)
        runner.run(jobs)


def drop_stages(folder: Path, device: str) -> dict:
    """Delete the copies of earlier stages of a finished model."""
    for path in folder.glob("checkpoint_*_*.pt"):
        path.unlink()
    return {}


def command(args: argparse.Namespace, name: str, output: Path) -> list[str]:
    """Return what follows fairseq-train on the command line of a model."""
    every, warmup = max(1, args.updates // VALIDATIONS), args.updates // 10
    schedule = (
        f"--max-update {args.updates} --total-num-update {args.updates} --warmup-updates {warmup} "
        f"--save-interval-updates {every} --log-interval {max(1, args.updates // 100)}"
    )
    recipe = [part.format(root=os.path.relpath(ROOT)) for part in RECIPE.split()]
    places = [str(output / "data"), "--save-dir", str(output / name)]
    return [*places, *VARIANTS[name].split(), *recipe, *schedule.split()]


# ---- what came out -------------------------------------------------------------------------------


def report(args: argparse.Namespace, output: Path, data: dict) -> None:
    """Print the table and the filled masks, draw the curves, write results.json."""
    from plugins import hub
    from plugins.analysis.runs import curves as runs
    from plugins.analysis.runs import logs
    from plugins.files import write_json

    unigram_level = data["unigram_perplexity"]
    print(f"\n{'model':<14}{'parameters':>12}{'valid. ppl':>12}{'tokens/s':>10}{'seconds':>9}")
    print(f"{'(unigram)':<26}{unigram_level:>12.1f}")
    results, curves = {}, {}
    for name in args.variants:
        with open(output / name / "train.log", encoding="utf-8") as log:
            records = logs.read_log(log)
        model = hub.load(str(output / name / "checkpoint_best.pt"))
        parameters = sum(p.numel() for p in model.parameters())
        s, curves[name] = runs.summarize(records), runs.curve(records, "ppl")
        print(f"{name:<14}{parameters:>12,}{s.perplexity:>12.1f}{s.tokens_per_second:>10,.0f}{s.seconds:>9.0f}")
        results[name] = {"parameters": parameters, **vars(s), "validation": [c.tolist() for c in curves[name]]}
    best = min(results, key=lambda name: results[name]["perplexity"])
    print_masks(data["sentences"], output / best / "checkpoint_best.pt", best)
    draw(output / "validation_curves.png", curves, unigram_level, best)
    write_json(output / "results.json", {"threads": args.threads, "data": data, "models": results}, indent=1)


def print_masks(sentences: list[str], checkpoint: Path, name: str) -> None:
    """Print sentences with the best three words for the mask of each."""
    from plugins import hub

    print(f"\nmasks filled by {name}:")
    filled = hub.load(str(checkpoint)).fill_mask(sentences, topk=3)
    for sentence, answers in zip(sentences, filled, strict=True):
        # sentencepiece writes ▁ for a blank, which may be a token by itself
        words = "   ".join(f"{word.strip() or '▁'} {probability:.2f}" for _, probability, word in answers)
        print(f"  {sentence}\n    {words}")


def draw(path: Path, curves: dict, unigram_level: float, best: str) -> None:
    """Draw the validation curves."""
    from plugins.analysis import plots

    updates, values = curves[best]
    title = f"{best} has the lowest validation perplexity, {min(values):.0f}, after {max(updates)} updates"
    subtitle = "models of about a million parameters, one run each with the same data, seed and schedule"
    plots.validation_curves(path, curves, title, subtitle, unigram_level)
    print(f"\nvalidation curves: {path}")


# ---- files ---------------------------------------------------------------------------------------


def read_json(path: Path) -> dict:
    """Return what :func:`write_json` wrote, or nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to resume")
