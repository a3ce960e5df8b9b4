"""Characters per second in sampling, batch 1: with the key-value cache, without it, and with a Multi-Style Adapter.

The peer is the same module that encodes its whole context for every character, as nanoGPT does. All contestants sample
in turn from an untrained model, beginning with one character; the ratio is taken pair by pair: above 1, faster than the
peer, and for the adapter: above 1, faster than without one.

    python benchmarks/char_sample.py --size small --length 256
"""

import argparse
import sys

CONTESTANTS = {  # options of the adapter, of the sampling, and the type of the weights
    "no cache": ({}, {"cached": False}, "float32"),
    "cache": ({}, {}, "float32"),
    "cache, every_other": ({"style_layers": "every_other"}, {}, "float32"),
    "cache, every": ({"style_layers": "every"}, {}, "float32"),
    "cache, style given": ({"style_layers": "every"}, {"style": "a"}, "float32"),
    "cache, bfloat16": ({}, {}, "bfloat16"),
    "every_other, published": ({"style_layers": "every_other", "style_inference": "published"}, {}, "float32"),
    "every, published": ({"style_layers": "every", "style_inference": "published"}, {}, "float32"),
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", choices=["nano", "small", "deep"])
    parser.add_argument("--length", type=int, default=256, help="characters; past the block size the window slides")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def contestant(name, args):
    """Return a function that samples once."""
    import torch
    from char_train import build

    from plugins.data.text.char_dictionary import CharDictionary
    from plugins.hub import CharLM

    style, sampling, dtype = CONTESTANTS[name]
    torch.manual_seed(1)
    model, _ = build(args.size, 65, **style)
    names = list("abcd") if style else []
    lm = CharLM(model.eval(), CharDictionary(map(chr, range(48, 48 + 65))), names)
    lm.to(dtype=getattr(torch, dtype))
    return lambda: lm.sample("0", args.length, **sampling)


def main():
    args = parse()
    import torch
    from measure import interleaved, ratios, save, summary

    torch.set_num_threads(args.threads or torch.get_num_threads())
    seconds = interleaved({name: contestant(name, args) for name in CONTESTANTS}, args.repeats, warmup=1)
    rows = []
    for name in CONTESTANTS:
        speed = summary([args.length / s for s in seconds[name]])
        row = {"contestant": name, "characters_per_second": speed}
        row["to_no_cache"] = summary(ratios(seconds["no cache"], seconds[name]))
        row["to_cache"] = summary(ratios(seconds["cache"], seconds[name]))
        rows.append(row)
        print(
            f"{name:22} {speed['median']:7.0f} characters/s   x {row['to_no_cache']['median']:6.1f} of no cache   "
            f"x {row['to_cache']['median']:.3f} of cache"
        )
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "size": args.size, "rows": rows}))


if __name__ == "__main__":
    main()
