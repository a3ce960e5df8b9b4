"""Seconds and memory that scoring the heads of a character model takes, for several numbers of texts.

    python benchmarks/patterns.py --width 384 --texts 250 1000 --save patterns

Each number of texts is measured in a process of its own, from an untrained model: its speed is that of a trained one.
The seconds are those of scoring alone, on the clock and of CPU time, all threads together, which other work on the
machine changes little. The peer is the same model's plain passes over the same texts.
"""

import argparse
import json
import subprocess
import sys
import time


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--length", type=int, default=128, help="characters of a text")
    parser.add_argument("--texts", type=int, nargs="+", default=[250, 1000], metavar="N")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # a single number, in this process
    return parser.parse_args()


def build(args):
    """Return an untrained character LM of 65 characters."""
    from types import SimpleNamespace

    from omegaconf import OmegaConf

    from plugins.data.text.char_dictionary import CharDictionary
    from plugins.hub import CharLM
    from plugins.models.char_lm import CharLanguageModel
    from plugins.models.char_lm_config import CharLMConfig
    from plugins.options import NO_START

    dictionary = CharDictionary(map(chr, range(48, 48 + 65)))
    sizes = {"decoder_layers": args.layers, "decoder_attention_heads": args.heads, "decoder_embed_dim": args.width}
    cfg = OmegaConf.structured(CharLMConfig(**NO_START, **sizes, block_size=args.length))
    task = SimpleNamespace(source_dictionary=dictionary, style_names=[])
    return CharLM(CharLanguageModel.build_model(cfg, task), dictionary)


def measure(args):
    """Return the seconds and the peak memory of one number of texts."""
    import torch
    from measure import peak_memory_of_process

    from plugins.analysis.attention.head_scores import score_heads

    torch.set_num_threads(args.threads or torch.get_num_threads())
    torch.manual_seed(1)
    lm, count = build(args), args.texts[0]

    def texts():
        draws = torch.Generator().manual_seed(2)
        for _ in range(count):
            yield "".join(chr(48 + i) for i in torch.randint(65, (args.length,), generator=draws).tolist())

    start, cpu = time.perf_counter(), time.process_time()
    score_heads(lm, texts(), length=args.length)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    tokens = torch.stack([lm.encode(text) for text in texts()])
    start = time.process_time()
    with torch.inference_mode():
        for batch in tokens.split(16):
            lm.model(batch)
    plain = time.process_time() - start
    return {
        "texts": count,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "plain_cpu_seconds": plain,
        "peak_mb": peak_memory_of_process(),
        "threads": torch.get_num_threads(),
    }


def line(row):
    return (
        f"{row['texts']:6,} texts  {row['seconds']:6.1f} s  {row['cpu_seconds']:6.1f} s of CPU "
        f"(plain passes {row['plain_cpu_seconds']:.1f})  {row['peak_mb']:5.0f} MB"
    )


def main():
    args = parse()
    if args.one:
        print(json.dumps(measure(args)))
        return
    rows = []
    for count in args.texts:
        sizes = ("layers", "heads", "width", "length", *(["threads"] if args.threads else []))
        options = [f"--{name}={getattr(args, name)}" for name in sizes]
        child = subprocess.run([sys.executable, __file__, "--one", f"--texts={count}", *options],
                               stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
        rows.append(json.loads(child.stdout.splitlines()[-1]))
        print(line(rows[-1]))
    if args.save:
        from measure import save

        print("written:", save(args.save, {"command": " ".join(sys.argv), "rows": rows}))


if __name__ == "__main__":
    main()
