"""Time and memory of scripts/prepare_mlm.py against fairseq's own tools on the same text, tokenizer and cores.

The peer is what fairseq's documentation of RoBERTa does: examples/roberta/multiprocessing_bpe_encoder.py, which writes
the text as ids, then fairseq-preprocess, which writes the data folder. Both sides are whole commands, start included,
in turn; the ids of both are compared. Memory is the proportional set size (PSS) of a command and its children, which
counts shared pages once, sampled four times a second.

    python benchmarks/prepare_mlm.py --megabytes 60 --repeats 3
    python benchmarks/prepare_mlm.py --megabytes 5000 --numbered --only ours --shards 10 --repeats 1

The text is drawn document by document from the given files, or from the documentation in this Python installation, and
the byte-pair encoding is learned from those (library tokenizers) unless --gpt2-dir names GPT-2's.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MERGES = 50_000


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="*", type=Path, help="text files; an empty line ends a document")
    parser.add_argument("--megabytes", type=float, default=60, help="size of the text")
    parser.add_argument("--numbered", action="store_true", help="begin each document with its number: no two are equal")
    parser.add_argument("--gpt2-dir", type=Path, help="folder with encoder.json, vocab.bpe and dict.txt")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shards", type=int, default=1, help="of prepare_mlm.py")
    parser.add_argument("--items", default="lines", help="of prepare_mlm.py; other than lines with --only ours")
    parser.add_argument("--deduplicate", choices=("exact", "near"), help="of prepare_mlm.py, with --only ours")
    parser.add_argument("--tokenizer", choices=("gpt2", "sentencepiece"), default="gpt2", help="with --only ours")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("ours",), help="without the peer")
    parser.add_argument("--folder", type=Path, help="for the text and the results (default: a temporary folder)")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def write_text(path, documents, megabytes, numbered):
    """Write documents drawn with replacement, with an empty line between two; return the number of bytes."""
    draw, size, count = random.Random(1), 0, 0
    with open(path, "w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            document = draw.choice(documents)
            count += 1
            if numbered:
                document = f"{count} {document}"
            if size:
                file.write("\n")
            file.write(document + "\n")
            size += len(document.encode()) + 2
    return path.stat().st_size


def learn_encoding(folder, documents):
    """Write a byte-level encoding learned from documents in GPT-2's format, with fairseq's dictionary."""
    import json

    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(documents, vocab_size=256 + MERGES, show_progress=False)
    folder.mkdir()
    tokenizer.save_model(str(folder))
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    size = len(json.loads((folder / "encoder.json").read_text()))
    (folder / "dict.txt").write_text("".join(f"{index} 1\n" for index in range(size)))


def peer(args, text, gpt2, output):
    import fairseq

    script = Path(fairseq.__file__).parent / "examples" / "roberta" / "multiprocessing_bpe_encoder.py"
    ids = output.with_suffix(".bpe")
    yield [
        sys.executable, script, "--encoder-json", gpt2 / "encoder.json", "--vocab-bpe", gpt2 / "vocab.bpe",
        "--inputs", text, "--outputs", ids, "--keep-empty", "--workers", args.workers,
    ]  # fmt: skip
    yield [
        Path(sys.executable).with_name("fairseq-preprocess"), "--only-source", "--srcdict", gpt2 / "dict.txt",
        "--trainpref", ids, "--destdir", output, "--workers", args.workers,
    ]  # fmt: skip


def ours(args, text, gpt2, output):
    valid = text.with_suffix(".valid")
    valid.write_text("validation\n")
    tokenizer = ["--tokenizer", "gpt2", "--gpt2-dir", gpt2] if args.tokenizer == "gpt2" else []
    yield [
        sys.executable, ROOT / "scripts" / "prepare_mlm.py", "--train", text, "--valid", valid, *tokenizer,
        "--workers", args.workers, "--shards", args.shards, "--items", args.items, "-o", output,
        *(["--deduplicate", args.deduplicate] if args.deduplicate else []),
    ]  # fmt: skip


def measured(commands):
    """Run commands and return (seconds, largest PSS of a command and its children in MB)."""
    seconds, peak = 0.0, [0.0]
    for command in commands:
        start = time.perf_counter()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        watch = threading.Thread(target=watch_memory, args=(process, peak), daemon=True)
        watch.start()
        errors = process.communicate()[1]
        seconds += time.perf_counter() - start
        watch.join()
        if process.returncode:
            sys.exit(f"{command[1]}: exit {process.returncode}\n{errors[-2000:]}")
    return seconds, peak[0]


def watch_memory(process, peak):
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(proportional_set_size, [process.pid, *descendants(process.pid)])))
        time.sleep(0.25)


def descendants(pid):
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except OSError:  # it ended
        pass
    return found


def proportional_set_size(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def settings(args):
    """Return the options as plain data, with the names of files only."""
    skipped = ("folder", "save", "text", "gpt2_dir")
    return {k: v for k, v in vars(args).items() if k not in skipped} | {"text": [path.name for path in args.text]}


def main():
    args = parse()
    sys.path.insert(0, str(ROOT))
    from measure import ratios, save, summary

    from plugins.data.text.documents import embedded_corpus, read_documents

    documents = list(read_documents(args.text) if args.text else embedded_corpus())
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = Path(folder)
        size = write_text(folder / "text.txt", documents, args.megabytes, args.numbered)
        gpt2 = args.gpt2_dir or folder / "gpt2"
        if args.gpt2_dir is None:
            learn_encoding(gpt2, documents)
        sides = {"ours": ours} if args.only else {"fairseq": peer, "ours": ours}
        results = {side: [] for side in sides}
        for repeat in range(args.repeats):
            for side, commands in sides.items():
                output = folder / f"{side}{repeat}"
                results[side].append(measured(commands(args, folder / "text.txt", gpt2, output)))
        if not args.only:
            same = (folder / "ours0" / "train.bin").read_bytes() == (folder / "fairseq0" / "train.bin").read_bytes()
            print(f"ids of both: {'equal' if same else 'DIFFERENT'}")
    report = {"megabytes": size / 1e6, "workers": args.workers, "settings": settings(args)}
    for side, rows in results.items():
        seconds, memory = [row[0] for row in rows], [row[1] for row in rows]
        report[side] = {"seconds": seconds, "peak_pss_mb": memory}
        rate = size / 1e6 / summary(seconds)["median"]
        print(f"{side:<8}{summary(seconds)['median']:8.1f} s {rate:8.2f} MB/s {max(memory):8.0f} MB of memory")
    if not args.only:
        report["speed"] = summary(ratios(report["fairseq"]["seconds"], report["ours"]["seconds"]))
        print("speed   {median:8.2f} ({min:.2f}-{max:.2f})".format(**report["speed"]))
    if args.save:
        print(save(args.save, report))


if __name__ == "__main__":
    main()
