"""Characters per second in sampling, batch 1: with the key-value cache, compiled, without, and with a style adapter.

The peer is the same module that encodes its whole context for every character, as nanoGPT does. All contestants sample
in turn from an untrained model, beginning with one character; the ratio is taken pair by pair: above 1, faster than the
peer, and for the adapter: above 1, faster than without one. The weights read per second are compared with the rate at
which the machine reads memory.

    python benchmarks/char_sample.py --size small --length 256 --contestants "no cache" cache compiled
"""

import argparse
import sys

COMPILED = {"compiled": True}
CONTESTANTS = {  # options of the adapter, of the sampling, and the type of the weights
    "no cache": ({}, {"cached": False}, "float32"),
    "cache": ({}, {"compiled": False}, "float32"),
    "compiled": ({}, COMPILED, "float32"),
    "compiled, every_other": ({"style_layers": "every_other"}, COMPILED, "float32"),
    "compiled, every": ({"style_layers": "every"}, COMPILED, "float32"),
    "compiled, style given": ({"style_layers": "every"}, COMPILED | {"style": "a"}, "float32"),
    "compiled, bfloat16": ({}, COMPILED, "bfloat16"),
    "compiled, int8": ({}, COMPILED, "int8"),
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
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def contestant(name, args):
    """Return a function that samples once, and the bytes of the weights that a step reads."""
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
    decoder = lm.model.decoder
    layers = [*decoder.transformer.h.modules(), decoder.lm_head]
    weights = [part.weight for part in layers if getattr(getattr(part, "weight", None), "ndim", 0) == 2]
    return lambda: lm.sample("0", args.length, **sampling), sum(w.numel() * w.element_size() for w in weights)


def reading_rate(size):
    """Return the bytes per second at which the machine reads a tensor of this many bytes again and again."""
    import torch
    from measure import interleaved

    tensor = torch.ones(size // 4)
    return size / min(interleaved({"read": tensor.sum}, 50)["read"])


def main():
    args = parse()
    import torch
    from measure import interleaved, ratios, save, summary

    torch.set_num_threads(args.threads or torch.get_num_threads())
    names = list(dict.fromkeys(["no cache", "cache", *args.contestants]))
    runs = {name: contestant(name, args) for name in names}
    limit = reading_rate(runs["cache"][1])
    seconds = interleaved({name: run for name, (run, _) in runs.items()}, args.repeats, warmup=1)
    peer = "compiled" if "compiled" in names else "cache"
    rows = []
    for name in names:
        speed = summary([args.length / s for s in seconds[name]])
        row = {"contestant": name, "characters_per_second": speed}
        row["to_no_cache"] = summary(ratios(seconds["no cache"], seconds[name]))
        row["to_cache"] = summary(ratios(seconds["cache"], seconds[name]))
        row["to_compiled"] = summary(ratios(seconds[peer], seconds[name]))
        row["share_of_reading"] = speed["median"] * runs[name][1] / limit
        rows.append(row)
        print(
            f"{name:22} {speed['median']:7.0f} characters/s   x {row['to_no_cache']['median']:6.1f} of no cache   "
            f"x {row['to_cache']['median']:.3f} of cache   x {row['to_compiled']['median']:.3f} of {peer}   "
            f"{100 * row['share_of_reading']:.0f} % of {limit / 1e9:.0f} GB/s"
        )
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "size": args.size, "rows": rows}))


if __name__ == "__main__":
    main()
