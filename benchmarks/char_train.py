"""Characters per second in training: `fairseq-train` against a plain loop, and what the Multi-Style Adapter costs.

The plain loop is a short nanoGPT train.py: our own module, windows at random positions of a memory-mapped file,
fused AdamW on matrices, gradients clipped, cosine schedule, float32, no compiler. Both train in turn, with the same
sizes, updates and seed; the ratio of their speeds is taken pair by pair: above 1, faster than the loop. `step` times
single updates of the loop without and with an adapter, alternating within one process, the published form included.

    python benchmarks/char_train.py tinyshakespeare.txt --repeats 3
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SIZES = {"nano": (12, 64), "small": (64, 256)}  # batch, block
LEARNING_RATE, WARMUP = 1e-3, 100
STYLES = {
    "none": {},
    "every_other": {"style_layers": "every_other"},
    "every": {"style_layers": "every"},
    "every_other, published": {"style_layers": "every_other", "style_inference": "published"},
    "every, published": {"style_layers": "every", "style_inference": "published"},
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="UTF-8 file; the first nine tenths are trained on")
    parser.add_argument("--size", default="nano", choices=SIZES)
    parser.add_argument("--batch-size", type=int, help="default: 12 (nano), 64 (small)")
    parser.add_argument("--updates", type=int, default=600, help="of a whole run")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of whole runs")
    parser.add_argument("--steps", type=int, default=60, help="alternating updates for what the adapter costs")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def build(size, characters, **style):
    """Return a model with these options of the adapter, in training mode, and its optimizer."""
    import torch
    from omegaconf import OmegaConf

    from plugins.data.text.char_dictionary import CharDictionary
    from plugins.models.char_lm import CharLanguageModel
    from plugins.models.char_lm_config import SIZES as ARCHITECTURES
    from plugins.models.char_lm_config import CharLMConfig
    from plugins.options import NO_START

    class Task:
        source_dictionary, style_names = CharDictionary(map(chr, range(characters))), ["a", "b", "c", "d"]

    config = CharLMConfig(**NO_START, **style)
    config = OmegaConf.merge(OmegaConf.structured(config), ARCHITECTURES[size])
    model = CharLanguageModel.build_model(config, Task).train()
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return model, torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.99), eps=1e-8, fused=True)


def step(model, optimizer, x, y, labels=None):
    import torch
    import torch.nn.functional as F

    options = {} if labels is None else {"style_labels": labels}
    logits, extra = model(x, **options)
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    if extra["style_logits"] is not None:
        by_style = extra["style_logits"].flatten(0, 1)
        loss = loss + 0.1 * F.cross_entropy(by_style, labels.repeat_interleave(extra["style_logits"].size(1)))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def plain_loop(args, batch, block):
    """Train and return (characters per second, validation loss in nats)."""
    import math

    import numpy as np
    import torch
    import torch.nn.functional as F

    text = Path(args.text).read_text(encoding="utf-8")
    index = {c: i for i, c in enumerate(sorted(set(text)))}
    with tempfile.NamedTemporaryFile() as file:
        np.array([index[c] for c in text], np.uint16).tofile(file.name)
        data = np.memmap(file.name, np.uint16, "r")
        cut = int(0.9 * len(data))
        torch.manual_seed(1)
        model, optimizer = build(args.size, len(index))

        def windows(starts):
            return torch.stack([torch.from_numpy(data[s : s + block + 1].astype(np.int64)) for s in starts])

        begin = time.perf_counter()
        for update in range(args.updates):
            if update < WARMUP:
                rate = (update + 1) / (WARMUP + 1)
            else:
                progress = (update - WARMUP) / max(1, args.updates - WARMUP)
                rate = 0.1 + 0.45 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * rate
            ids = windows(torch.randint(cut - block, (batch,)).tolist())  # (B, T + 1)
            step(model, optimizer, ids[:, :-1], ids[:, 1:])
        seconds = time.perf_counter() - begin
        model.eval()
        total = count = 0
        with torch.no_grad():
            for start in range(cut, len(data) - 1, block):
                ids = torch.from_numpy(data[start : start + block + 1].astype(np.int64))[None]
                total += F.cross_entropy(model(ids[:, :-1])[0][0], ids[0, 1:], reduction="sum").item()
                count += ids.size(1) - 1
    return args.updates * batch * block / seconds, total / count


def fairseq_train(args, batch, block):
    """Train by the real command line and return what it logs: (characters per second, validation loss in nats)."""
    program = Path(sys.executable).with_name("fairseq-train")
    with tempfile.TemporaryDirectory() as folder:
        options = f"""--user-dir plugins --task char_lm --arch char_lm_{args.size} --max-update {args.updates}
            --batch-size {batch} --validate-interval-updates {args.updates} --save-interval-updates {args.updates}
            --log-format json --log-interval {args.updates} --seed 1 --cpu --save-dir {folder}"""
        run = subprocess.run(
            [program, str(Path(args.text).resolve()), *options.split()], cwd=ROOT, capture_output=True, text=True
        )
    logged = [json.loads(text) for text in re.findall(r"\| (?:train_inner|valid) \| (\{.*\})", run.stdout + run.stderr)]
    speed = [float(line["wps"]) for line in logged if "wps" in line]
    nats = [float(line["valid_nats"]) for line in logged if "valid_nats" in line]
    if run.returncode or not speed or not nats:
        sys.exit("error: fairseq-train failed: " + (run.stderr.strip().splitlines() or ["no output"])[-1])
    return speed[0], nats[-1]


def adapter_cost(args, batch, block):
    """Return {name of STYLES: list of seconds of an update}, alternating."""
    import torch
    from measure import interleaved

    from plugins.compat.allocator import keep_freed_memory

    keep_freed_memory()  # as in fairseq-train; else the model with the highest peak requests memory in each update
    torch.manual_seed(1)
    x, y = torch.randint(65, (2, batch, block))
    labels = torch.randint(4, (batch,))
    parts = {name: build(args.size, 65, **style) for name, style in STYLES.items()}
    runs = {
        name: lambda m=model, o=optimizer, t=labels if name != "none" else None: step(m, o, x, y, t)
        for name, (model, optimizer) in parts.items()
    }
    return interleaved(runs, args.steps)


def main():
    args = parse()
    from measure import ratios, save, summary, times

    batch, block = SIZES[args.size]
    batch = args.batch_size or batch
    rows = []
    pairs = [(plain_loop(args, batch, block), fairseq_train(args, batch, block)) for _ in range(args.repeats)]
    if pairs:
        loop, own = zip(*pairs, strict=True)
        for name, runs in (("plain loop", loop), ("fairseq-train", own)):
            speed = summary([r[0] for r in runs])
            ratio = summary([r[0] / p[0] for r, p in zip(runs, loop, strict=True)])
            nats = summary([r[1] for r in runs])
            rows.append({"contestant": name, "characters_per_second": speed, "ratio": ratio, "valid_nats": nats})
            print(
                f"{name:14} {speed['median']:8.0f} characters/s  {times(ratio)}  "
                f"validation {nats['median']:.3f} nats after {args.updates} updates",
                flush=True,
            )
    if args.steps:
        seconds = adapter_cost(args, batch, block)
        for name in STYLES:
            cost = summary(ratios(seconds[name], seconds["none"]))
            rows.append({"style_layers": name, "seconds": summary(seconds[name]), "cost": cost})
            print(
                f"step, style layers {name:22} {rows[-1]['seconds']['median'] * 1e3:7.1f} ms  x {cost['median']:.3f} "
                "of the time without"
            )
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "size": args.size, "rows": rows}))


if __name__ == "__main__":
    main()
