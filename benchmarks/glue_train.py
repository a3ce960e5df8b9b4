"""Time fine-tuning: examples per second of ``fairseq-train --task glue`` against Hugging Face's ``Trainer``.

Both train a RoBERTa of the same shape with random weights on the same rows and the same token ids, cut to the same
length, with AdamW in one kernel and the same batch size, for one epoch of rows that are drawn once for both.
``Trainer`` pads each batch to its longest input (dynamic padding), as its own examples recommend; ours also builds
batches by length. Runs alternate; the ratio is taken pair by pair: above 1, ours is faster. What counts is the training
loop from its first batch to its last, with no validation and no checkpoint on either side. With
``--mixed-precision bf16`` both run under autocast, and ours also runs in float32, for the gain of bfloat16.

    python scripts/demo_mlm.py --variants baseline --updates 1 -o checkpoints/bench      # a dictionary and a tokenizer
    pip install -r requirements/hf.txt -r requirements/bench.txt
    python benchmarks/glue_train.py GLUE --tokenizer-dir checkpoints/bench/data --repeats 3
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SIZES = {"tiny": (4, 128, 4), "small": (6, 384, 6), "base": (12, 768, 12)}  # layers, width, heads
ADAM = {"lr": 1e-5, "weight_decay": 0.1, "eps": 1e-6, "betas": (0.9, 0.98)}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glue_dir", help="folder with RTE/ and CoLA/")
    parser.add_argument("--tokenizer-dir", required=True, help="folder with dict.txt and a tokenizer")
    parser.add_argument("--tasks", nargs="+", default=["RTE", "CoLA"])
    parser.add_argument("--shape", default="small", choices=SIZES)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-positions", type=int, default=256)
    parser.add_argument("--updates", type=int, default=60, help="batches in the epoch (default: 60)")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--mixed-precision", choices=["none", "bf16"], default="none", help="of both (default: none)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hf-python", default=sys.executable, help="a Python that has transformers and accelerate")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    parser.add_argument("--peer", metavar="NPZ", help=argparse.SUPPRESS)  # this program, as the other side
    return parser.parse_args(argv)


# Ours


def ours(args, task, data, precision):
    """Return the examples per second of a whole ``fairseq-train``."""
    layers, width, heads = SIZES[args.shape]
    options = f"""--user-dir {ROOT / "plugins"} --cpu --task glue --glue-task {task} --criterion glue
        --tokenizer-dir {args.tokenizer_dir} --arch clap_roberta --head roberta --encoder-layers {layers}
        --encoder-embed-dim {width} --encoder-ffn-embed-dim {4 * width} --encoder-attention-heads {heads}
        --max-positions {args.max_positions} --dropout {args.dropout} --attention-dropout {args.dropout}
        --pooler-dropout {args.dropout} --optimizer fused_adamw --lr {ADAM["lr"]} --weight-decay {ADAM["weight_decay"]}
        --adam-eps {ADAM["eps"]} --lr-scheduler fixed --batch-size {args.batch_size} --max-epoch 1
        --no-save --disable-validation --num-workers 0 --log-format json --log-interval 1000000 --seed 1
        --mixed-precision {precision}"""
    program = str(Path(sys.executable).with_name("fairseq-train"))
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, program, data, *options.split(), "--save-dir", folder]
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    said = run.stdout + run.stderr
    done = re.search(r"done training in ([\d.]+) seconds", said)
    if done is None:
        sys.exit(f"error: fairseq-train did not train: {said.splitlines()[-1]}")
    return args.updates * args.batch_size / float(done[1])


# The peer


def draw_rows(args, task, folder):
    """Write a training file of as many rows as the updates take, the same for both sides."""
    from plugins.data.glue import reader, specs

    spec = specs.find(task)
    lines = reader.locate(args.glue_dir, spec, "train").read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    header = [] if spec.headless else lines[:1]
    rows = random.Random(1).sample(lines[len(header) :], args.updates * args.batch_size)
    path = Path(folder, spec.folders[0], spec.files["train"])
    path.parent.mkdir()
    path.write_text("\n".join([*header, *rows]) + "\n", encoding="utf-8")


def tokens_of(args, task, path, glue_dir):
    """Write the inputs of a task's training split, as ours sees them, for the peer."""
    import numpy as np

    from plugins.data.glue import dataset, reader, specs

    spec, tokenizer = specs.find(task), dataset.FolderTokenizer(args.tokenizer_dir)
    data = dataset.load(reader.locate(glue_dir, spec, "train"), spec, "train", tokenizer)
    tokenizer.dictionary.add_mask()
    pairs = dataset.SentencePairs(data, tokenizer.dictionary, args.max_positions)
    inputs = [pairs[i]["tokens"] for i in range(len(pairs))]
    np.savez(path, tokens=np.concatenate(inputs), sizes=pairs.sizes, labels=pairs.labels,
             words=len(tokenizer.dictionary), classes=spec.outputs)  # fmt: skip


def theirs(args, task, npz):
    words = [args.hf_python, __file__, *sys.argv[1:], "--peer", npz]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"error: Trainer did not train: {run.stderr.splitlines()[-1]}")
    return json.loads(run.stdout.splitlines()[-1])["examples_per_second"]


def train_with_hugging_face(args):
    """Train once as the peer; print the examples per second."""
    import numpy as np
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification, Trainer, TrainingArguments

    data = dict(np.load(args.peer))
    stops = data["sizes"].cumsum()
    starts = stops - data["sizes"]
    rows = [{"input_ids": torch.from_numpy(data["tokens"][a:b].copy()), "labels": int(label)}
            for a, b, label in zip(starts, stops, data["labels"], strict=True)]  # fmt: skip

    def collate(batch):
        ids = torch.nn.utils.rnn.pad_sequence([row["input_ids"] for row in batch], True, 1)  # 1 is <pad>
        return {"input_ids": ids, "attention_mask": (ids != 1).long(),
                "labels": torch.tensor([row["labels"] for row in batch])}  # fmt: skip

    layers, width, heads = SIZES[args.shape]
    config = RobertaConfig(
        vocab_size=int(data["words"]), hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * width, max_position_embeddings=args.max_positions + 2, type_vocab_size=1,
        layer_norm_eps=1e-5, hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout,
        num_labels=int(data["classes"]), pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder, per_device_train_batch_size=args.batch_size, max_steps=args.updates, learning_rate=ADAM["lr"],
            weight_decay=ADAM["weight_decay"], adam_epsilon=ADAM["eps"], adam_beta1=ADAM["betas"][0],
            adam_beta2=ADAM["betas"][1], max_grad_norm=0.0, lr_scheduler_type="constant", optim="adamw_torch_fused",
            save_strategy="no", logging_strategy="no", report_to=[], use_cpu=True, seed=1, disable_tqdm=True,
            dataloader_num_workers=0, remove_unused_columns=False,
            bf16=args.mixed_precision == "bf16",
        )  # fmt: skip
        trainer = Trainer(RobertaForSequenceClassification(config), options, collate, train_dataset=rows)
        seconds = trainer.train().metrics["train_runtime"]
    print(json.dumps({"examples_per_second": args.updates * args.batch_size / seconds}))


def main():
    args = parse()
    if args.peer:
        return train_with_hugging_face(args)
    sys.path.insert(0, str(ROOT))
    from measure import ratios, save, summary, times

    rows = []
    for task in args.tasks:
        own, peer, single = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            npz = f"{folder}/{task}.npz"
            draw_rows(args, task, folder)
            tokens_of(args, task, npz, folder)
            for _ in range(args.repeats):
                peer.append(theirs(args, task, npz))
                own.append(ours(args, task, folder, args.mixed_precision))
                if args.mixed_precision != "none":
                    single.append(ours(args, task, folder, "none"))
        speedup = summary(ratios(own, peer))
        rows.append({"task": task, "ours": summary(own), "trainer": summary(peer), "speedup": speedup})
        if single:
            gain = summary(ratios(own, single))
            rows[-1] |= {"ours_in_float32": summary(single), "gain_of_bf16": gain}
            print(f"{task:6} bf16 {times(gain)} of our float32", flush=True)
        print(
            f"{task:6} {args.shape}: ours {summary(own)['median']:.1f} examples/s, Trainer "
            f"{summary(peer)['median']:.1f}, {times(speedup)}",
            flush=True,
        )
    if args.save:
        versions = json.loads(subprocess.run(
            [args.hf_python, "-c", "import json, transformers, torch; print(json.dumps({'transformers': "
             "transformers.__version__, 'torch': torch.__version__}))"], capture_output=True, text=True, check=True,
        ).stdout)  # fmt: skip
        names = ("shape", "batch_size", "max_positions", "updates", "dropout", "mixed_precision")
        settings = {name: getattr(args, name) for name in names}
        command = " ".join(["benchmarks/glue_train.py", *sys.argv[1:]])
        print("written:", save(args.save, {"command": command, "peer": versions, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
