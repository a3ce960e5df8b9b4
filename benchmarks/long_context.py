"""Loss of a text at many times the trained length: long windows in one pass, or sliding windows with recomputation.

Sliding windows of the trained length give each prediction nearly a whole window of context, and encode each token
``length / stride`` times (Press et al., 2022, appendix B). A pass over windows of 16 times the length encodes it once,
with attention to all of the window: what ALiBi and rotary positions are for. The ratio of their times is taken pair by
pair: above 1, the long pass is faster. ``--memory`` measures the peak memory of a process that encodes one long input
instead, or with ``--train`` of one that also computes the gradients of the layers, without the output head.

    python benchmarks/long_context.py --repeats 5 --save long_context
    python benchmarks/long_context.py --memory 16384 --save long_context_memory
    python benchmarks/long_context.py --memory 16384 --train --save long_context_train_memory
"""

import argparse
import subprocess
import sys

import torch
from measure import interleaved, peak_memory_of_process, ratios, save, summary, times

from plugins.modules.decoder import Decoder
from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding
from plugins.modules.positions import Spec, build

WORDS = 65


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=int, default=64, help="the trained length (%(default)s, as char_lm_nano)")
    parser.add_argument("--times", type=int, default=16, help="length of the long windows over it (%(default)s)")
    parser.add_argument("--stride", type=int, default=8, help="of the sliding windows (%(default)s)")
    parser.add_argument("--windows", type=int, default=4, help="long windows in the text (%(default)s)")
    parser.add_argument("--positions", nargs="+", default=["alibi", "rotary"], choices=["alibi", "rotary"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", type=int, metavar="T", help="peak memory of an input of T tokens")
    parser.add_argument("--train", action="store_true", help="with --memory: of forward and backward")
    parser.add_argument("--peak-of", nargs=4, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def decoder(positions, size="nano"):
    """Return a decoder of the size of char_lm_nano or char_lm_small."""
    layers, heads, width, block = {"nano": (4, 4, 128, 64), "small": (6, 6, 384, 256)}[size]
    return Decoder(WORDS, block, width, 4 * width, layers, heads, positions=positions).eval()


def encoder(positions):
    """Return an encoder of the size of clap_roberta_tiny."""
    layers = [EncoderLayer(128, 512, 4, torch.nn.functional.gelu) for _ in range(4)]
    scheme = build(positions, Spec(128, 4, 128, padding_row=1))
    return SentenceEncoder(torch.nn.Embedding(32_000, 128), scheme, TokenEmbedding(32_000), layers, padding_index=1)


def compare(args, positions):
    """Return the seconds of both ways of reading a text, in turn."""
    model, length = decoder(positions), args.trained * args.times
    tokens = torch.randint(WORDS, (args.windows * length,))

    @torch.inference_mode()
    def long():
        for window in tokens.view(-1, length):
            model(window[None])

    @torch.inference_mode()
    def sliding():
        for batch in tokens.unfold(0, args.trained, args.stride).split(64):
            model(batch)[:, -args.stride :]

    return interleaved({"sliding": sliding, "long": long}, args.repeats, warmup=1)


def print_peak(kind, positions, length, mode):
    if kind == "clap_roberta_tiny":
        model, words = encoder(positions), 32_000
    else:
        model, words = decoder(positions, "small"), WORDS
    tokens = torch.randint(4, words, (1, int(length)))
    with torch.set_grad_enabled(mode == "train"):
        output = model.train(mode == "train")(tokens)
        features = output[0] if kind == "clap_roberta_tiny" else output  # an encoder also returns inner states
        if mode == "train":
            features.square().mean().backward()
    print(peak_memory_of_process())


def peak(kind, positions, length, mode):
    """Return the peak resident memory in MB of a process that encodes one input."""
    command = [sys.executable, __file__, "--peak-of", kind, positions, str(length), mode]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main():
    args = parse()
    if args.peak_of:
        print_peak(*args.peak_of)
        return
    if args.memory:
        mode = "train" if args.train else "read"
        result = {"tokens": args.memory, "mode": mode, "peak_mb": {}}
        for kind in ("clap_roberta_tiny", "char_lm_small"):
            for positions in args.positions:
                mb = result["peak_mb"][f"{kind}, {positions}"] = peak(kind, positions, args.memory, mode)
                print(f"{kind}, {positions}, {args.memory:,} tokens: {mb:,.0f} MB", flush=True)
    else:
        result = {"trained": args.trained, "times": args.times, "stride": args.stride, "ratios": {}}
        for positions in args.positions:
            seconds = compare(args, positions)
            found = result["ratios"][positions] = summary(ratios(seconds["sliding"], seconds["long"]))
            print(f"{positions:8} sliding / long {times(found)}", flush=True)
    if args.save:
        print(save(args.save, result))


if __name__ == "__main__":
    main()
