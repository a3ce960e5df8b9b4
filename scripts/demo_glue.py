#!/usr/bin/env python3
"""Fine-tune a small masked LM and compare its score with that of the majority class.

    python scripts/demo_glue.py --glue-dir GLUE
    python scripts/demo_glue.py

With a GLUE folder the tasks are CoLA and RTE. Without one, the task is made from text of this installation: is a
sentence as it was written, or are its words shuffled? The model is the best of scripts/demo_mlm.py if that has run,
else checkpoints/zero_clap_tiny. Finished steps are skipped.
"""

import argparse
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import command
import flags

ROOT = Path(__file__).resolve().parents[1]
DEMO = "checkpoints/demo"
SHIPPED = "checkpoints/zero_clap_tiny"
# A model this small takes, and needs, a much higher learning rate than RoBERTa.
OPTIONS = ["--lr", "5e-4", "--batch-size", "32", "--clip-norm", "1"]
EPOCHS = {"glue": 3, "embedded": 5}
TRAIN, VALID = 4000, 1000  # sentences of the embedded task
SPEC = """# Is a sentence as it was written, or are its words shuffled? Made by scripts/demo_glue.py.
name: word-order
files: {train: train.tsv, valid: dev.tsv}
text: sentence
label: label
labels: [shuffled, written]
metrics: [accuracy]
"""


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--glue-dir", metavar="DIR", help="folder with CoLA/ and RTE/ of the official files (default: embedded task)")
    add("--checkpoint", metavar="CKPT", help=f"pretrained model (default: the best of {DEMO}, else {SHIPPED})")
    flags.add_seeds(parser, [1, 2, 3])
    add(
        "--epochs",
        type=flags.positive,
        metavar="N",
        help=f"(default: {EPOCHS['glue']}, embedded task {EPOCHS['embedded']})",
    )
    add(
        "--pretrain-updates",
        type=flags.positive,
        metavar="N",
        help=f"pretrain for this many updates instead of using {SHIPPED}",
    )
    add("-o", "--output", default="checkpoints/glue-demo", metavar="DIR", help="folder to write (default: %(default)s)")
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main():
    args = parse_args()
    command.check_inputs(paths=[args.glue_dir], checkpoints=[args.checkpoint])
    command.check_outputs(folders=[args.output])
    output = Path(args.output)
    checkpoint = args.checkpoint or pretrained(args)
    if args.glue_dir:
        data, tasks, epochs = args.glue_dir, ["CoLA", "RTE"], EPOCHS["glue"]
    else:
        data = output / "word-order-data"
        make_task(data)
        tasks, epochs = [str(data / "spec.yaml")], EPOCHS["embedded"]
    arguments = [
        "--glue-dir", str(data), "--checkpoint", str(checkpoint), "--tasks", *tasks, "--output", str(output),
        "--seeds", *map(str, args.seeds), "--epochs", str(args.epochs or epochs), *OPTIONS,
        *(["--user-dir", args.user_dir] if args.user_dir else []),
    ]  # fmt: skip
    return run("run_glue.py", arguments)


def run(script, arguments):
    """Print and run the command of another script in this folder; return its exit status."""
    path = os.path.relpath(Path(__file__).with_name(script))
    print(f"$ python {path} {' '.join(arguments)}", flush=True)
    process = subprocess.Popen([sys.executable, path, *arguments])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the child process receives it too, and ends
            process.send_signal(2)


def pretrained(args):
    """Return the checkpoint of the demo with the lowest perplexity; before it has run, the one of the repository."""
    note = Path(DEMO) / "results.json"
    if not note.exists() and not args.pretrain_updates and (ROOT / SHIPPED).exists():
        print(f"fine-tuning {SHIPPED}")
        return ROOT / SHIPPED / "checkpoint_best.pt"
    if not note.exists():
        status = run("demo_mlm.py", ["-o", DEMO, "--updates", str(args.pretrain_updates or 500)])
        if status:
            sys.exit(status)
    from plugins.files import read_json

    models = read_json(note, dict)["models"]
    best = min(models, key=lambda name: models[name]["perplexity"])
    print(f"fine-tuning {best}, perplexity {models[best]['perplexity']:.0f}")
    return Path(DEMO) / best / "checkpoint_best.pt"


# The embedded task


def make_task(folder):
    """Write the task's files, unless they are there."""
    if (folder / "spec.yaml").exists():
        return
    print("reading the prose in this installation", flush=True)
    sys.path.insert(0, str(ROOT))
    from plugins.data.mlm.folder import split_documents
    from plugins.data.text.documents import embedded_corpus
    from plugins.files import write_text

    documents = split_documents(list(embedded_corpus()), 0.2)  # no sentence of a document on both sides
    folder.mkdir(parents=True, exist_ok=True)
    for name, part, count in zip(("train", "dev"), documents, (TRAIN, VALID), strict=True):
        rows = labeled(sentences(part), count, random.Random(name))
        write_text(folder / f"{name}.tsv", "label\tsentence\n" + "".join(f"{label}\t{text}\n" for label, text in rows))
    write_text(folder / "spec.yaml", SPEC)  # written last: its presence means that the other files are complete


def sentences(documents):
    """Return the words of sentences of 6 to 20 words, without capitals and punctuation, which show their order."""
    found = (s for d in documents for line in d.split("\n") for s in re.split(r"(?<=[.!?])\s+", line))
    found = (s for s in found if re.fullmatch(r"[A-Z][a-zA-Z',;: ]+[.!?]", s))
    plain = (re.findall(r"[a-z]+(?:'[a-z]+)?", s.lower()) for s in found)
    return [list(words) for words in dict.fromkeys(tuple(words) for words in plain if 6 <= len(words) <= 20)]


def labeled(texts, count, draw):
    """Return (label, sentence) pairs, equally many of both labels."""
    chosen = draw.sample(texts, min(count, len(texts)))
    rows = []
    for i, words in enumerate(chosen):
        if i % 2:
            rows.append(("written", " ".join(words)))
        else:
            rows.append(("shuffled", " ".join(shuffled(words, draw))))
    return rows


def shuffled(words, draw):
    """Return the words in another order."""
    while True:
        order = draw.sample(words, len(words))
        if order != words or len(set(words)) == 1:
            return order


if __name__ == "__main__":
    command.run(main)
