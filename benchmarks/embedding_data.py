"""Texts, and a model of each side, for ``embedding.py``."""

import json
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SIZES = {"tiny": (4, 128, 4), "small": (6, 384, 6), "base": (12, 768, 12)}  # layers, width, heads
WORDS = (3, 24, 180)  # words of a text: minimum, median, maximum
LOSSES = {"labeled": "batch_hard_soft_margin", "pairs": "multiple_negatives_ranking"}


def draw_texts(args, folder):
    """Write ``texts.json``, and rows for training: texts with a class, and pairs of consecutive texts."""
    draw, passages = random.Random(1), []
    low, median, high = WORDS
    for path in sorted(Path(args.texts).glob("*.txt")):
        words, place, found = path.read_text(encoding="utf-8").replace("<unk>", "").split(), 0, []  # no special tokens
        while len(found) < max(2 * args.updates * args.batch_size, args.encoded):
            size = min(high, max(low, round(median * draw.lognormvariate(0, 0.8))))
            found.append(" ".join(words[place : place + size]))
            place += size
            if place + high > len(words):
                place = 0
        passages.append((path.stem, found))
    everything = [text for _, found in passages for text in found]
    (folder / "texts.json").write_text(json.dumps(draw.sample(everything, args.encoded)))
    count = args.updates * args.batch_size
    share = -(-count // len(passages))
    labeled = [(text, name) for name, found in passages for text in found[:share]][:count]
    pairs = [(a, b) for _, found in passages for a, b in zip(found[::2], found[1::2], strict=True)]
    for kind, columns, rows in (("labeled", "text\tlabel", labeled), ("pairs", "a\tb", draw.sample(pairs, count))):
        (folder / kind).mkdir()
        lines = [columns, *("\t".join(row) for row in rows)]
        (folder / kind / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        text = "text\nlabel: label" if kind == "labeled" else "[a, b]"
        (folder / kind / "spec.yaml").write_text(f"name: {kind}\nfiles: {{train: train.tsv}}\ntext: {text}\n")


def options(args, data, kind, save_dir):
    layers, width, heads = SIZES[args.shape]
    return f"""{data / kind} --spec {data / kind}/spec.yaml --user-dir {ROOT / "plugins"} --cpu --task embedding
        --criterion metric_learning --metric-loss {LOSSES[kind]} --arch clap_roberta --head roberta --positions learned
        --encoder-layers {layers} --encoder-embed-dim {width} --encoder-ffn-embed-dim {4 * width}
        --encoder-attention-heads {heads} --max-positions 256 --dropout 0.1 --attention-dropout 0.1
        --optimizer fused_adamw --lr 1e-5 --clip-norm 1 --lr-scheduler fixed --batch-size {args.batch_size}
        --max-epoch 1 --disable-validation --num-workers 0 --log-format json --log-interval 1000000 --seed 1
        --no-epoch-checkpoints --no-save-optimizer-state --save-dir {save_dir}""".split()


def build(args, folder):
    """Write ``ours/checkpoint_last.pt``, after one update, and the same model as a folder ``peer``."""
    import plugins.hub

    given = [*options(args, folder, "labeled", folder / "ours"), "--tokenizer-dir", args.tokenizer_dir]
    program = str(Path(sys.executable).with_name("fairseq-train"))
    run = subprocess.run([sys.executable, program, *given, "--max-update", "1"], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"error: no model: {(run.stdout + run.stderr).splitlines()[-1]}")
    plugins.hub.export_sentence_transformers(plugins.hub.load(folder / "ours"), folder / "peer")
