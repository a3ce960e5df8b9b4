"""Tokens per second of greedy generation, against ``generate`` of transformers on the same weights.

The peers are GPT2LMHeadModel without a cache, which encodes the whole text for every token, and with its cache. All
continue the same random prompts in turn, by as many tokens; the ratio is taken pair by pair: above 1, ours is faster.
Equality of the tokens is checked first, which also compiles the steps.

    python benchmarks/generate.py --shape cut --batch 1 8
"""

import argparse
import sys
import tempfile

SHAPES = {  # layers, heads, width: the real ones, and what fits a short run, with the same table of 50,257 x 768
    "cut": (3, 12, 768),
    "small": (12, 12, 768),
}
WORDS, POSITIONS = 50257, 1024
CONTESTANTS = ("ours", "ours, not compiled", "transformers, no cache", "transformers, cache")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="cut", choices=SHAPES)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="prompts per batch (%(default)s)")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt (%(default)s)")
    parser.add_argument("--length", type=int, default=64, help="tokens generated (%(default)s)")
    parser.add_argument("--no-uncached", action="store_true", help="leave transformers without a cache out: it is slow")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def build(shape):
    """Return transformers' model and ours, with the same random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from plugins.data.text.causal_tokenizers import Characters
    from plugins.data.text.token_dictionary import TokenDictionary
    from plugins.hub import gpt2

    layers, heads, width = SHAPES[shape]
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=WORDS, n_layer=layers, n_head=heads, n_embd=width, n_positions=POSITIONS)
    theirs = GPT2LMHeadModel(config).eval()
    for name, parameter in theirs.named_parameters():  # so that the likeliest token is clear, and not always the same
        if "wte" not in name and parameter.ndim == 2:
            parameter.data.mul_(4)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        symbols = TokenDictionary(Characters(map(chr, range(32, 127))))
        symbols.save_files(folder)
        ours = gpt2.read(folder).eval()
    return theirs, ours


def contestants(theirs, ours, batch, args):
    """Return {name: function that generates once and returns tokens (batch, length)}."""
    import torch

    from plugins.modules.constraints import Constraints
    from plugins.modules.decoding import Stepper
    from plugins.modules.generation import Search, generate

    prompts = torch.randint(WORDS, (batch, args.prompt), generator=torch.Generator().manual_seed(2))
    end = ours.decoder.dictionary.eos()
    rules = Constraints(end, max_length=args.length, min_length=args.length)

    stepper = Stepper(ours)

    def run_ours(compiled):
        return torch.tensor(generate(stepper, list(prompts), rules, Search(), compiled=compiled))

    def run_theirs(use_cache):
        options = {"max_new_tokens": args.length, "min_new_tokens": args.length, "do_sample": False}
        ends = {"eos_token_id": end, "pad_token_id": end}
        mask = torch.ones_like(prompts)
        return theirs.generate(prompts, attention_mask=mask, use_cache=use_cache, **options, **ends)[:, args.prompt :]

    functions = (lambda: run_ours(True), lambda: run_ours(False), lambda: run_theirs(False), lambda: run_theirs(True))
    found = dict(zip(CONTESTANTS, functions, strict=True))
    return {name: run for name, run in found.items() if not (args.no_uncached and "no cache" in name)}


def main():
    args = parse()
    import logging

    import torch
    from measure import interleaved, ratios, save, summary, times

    logging.disable(logging.WARNING)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    theirs, ours = build(args.shape)
    rows = []
    for batch in args.batch:
        runs = contestants(theirs, ours, batch, args)
        tokens = {name: run() for name, run in runs.items()}
        same = (tokens["ours"] == tokens["transformers, cache"]).float().mean().item()
        print(f"batch {batch}: {100 * same:.1f} % of the tokens are the same, {tokens['ours'].unique().numel()} kinds")
        seconds = interleaved(runs, args.repeats, warmup=0)
        for name in runs:
            row = {"batch": batch, "contestant": name, "same_tokens": same}
            row["tokens_per_second"] = summary([batch * args.length / s for s in seconds[name]])
            row["ours_to_it"] = summary(ratios(seconds[name], seconds["ours"]))
            rows.append(row)
            speed, ratio = row["tokens_per_second"], row["ours_to_it"]
            print(f"  {name:24} {speed['median']:7.1f} tokens/s   ours: {times(ratio)}", flush=True)
    if args.save:
        config = {name: getattr(args, name) for name in ("shape", "prompt", "length", "repeats")}
        print("written:", save(args.save, {"command": " ".join(sys.argv), **config, "rows": rows}))


if __name__ == "__main__":
    main()
