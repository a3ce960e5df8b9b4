"""Time one training step (forward, backward, clipping, optimizer) of char_lm in float32 and under autocast to bfloat16.

The peer is fairseq's own ``transformer_lm`` of the same size with the same optimizer. All run in one process, in turn,
on the same batches; ratios are taken pair by pair: above 1, char_lm is faster. Weights and optimizer state are float32.

    python benchmarks/char_step.py --size small --repeats 5
"""

import argparse
import sys
from types import SimpleNamespace

CHARACTERS = 65
SIZES = ("nano", "small")
PEER, OURS, BF16 = "fairseq", "char_lm", ", autocast"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", choices=SIZES)
    parser.add_argument("--batch-size", type=int, help="default: 12 (nano), 64 (small)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def build_peer(sizes, block):
    """Return fairseq's decoder with pre-norm layers, learned positions, GELU and tied tables, as GPT-2 has."""
    from fairseq.data import Dictionary
    from fairseq.models.transformer_lm import TransformerLanguageModel, transformer_lm_gpt

    dictionary = Dictionary()
    for i in range(CHARACTERS - len(dictionary)):
        dictionary.add_symbol(f"c{i}")
    options = argparse.Namespace(
        decoder_layers=sizes["decoder_layers"],
        decoder_embed_dim=sizes["decoder_embed_dim"],
        decoder_ffn_embed_dim=4 * sizes["decoder_embed_dim"],
        decoder_attention_heads=sizes["decoder_attention_heads"],
        dropout=sizes["dropout"],
        attention_dropout=sizes["dropout"],
        decoder_learned_pos=True,
        share_decoder_input_output_embed=True,
        tokens_per_sample=block,
        max_target_positions=block,
    )
    transformer_lm_gpt(options)
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    return TransformerLanguageModel.build_model(options, task).train()


def stepper(name, size, x, y):
    """Return a function that does one training step of a contestant."""
    import torch
    import torch.nn.functional as F
    from char_train import LEARNING_RATE, build

    from plugins.models.char_lm_config import DEFAULTS
    from plugins.models.char_lm_config import SIZES as ARCHITECTURES

    torch.manual_seed(1)
    if name.startswith(PEER):
        model = build_peer(DEFAULTS | ARCHITECTURES[size], x.size(1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)
    else:
        model, optimizer = build(size, CHARACTERS)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=name.endswith(BF16)):
            if name.startswith(PEER):
                output = model(x)
                log_probabilities = model.get_normalized_probs(output, log_probs=True)  # as fairseq's cross_entropy
                loss = F.nll_loss(log_probabilities.flatten(0, 1), y.flatten(), reduction="sum")
            else:
                loss = model(x, target=y)[1]["loss"]
        optimizer.zero_grad(set_to_none=True)
        (loss / y.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def main():
    args = parse()
    import torch
    from char_train import SIZES as BATCHES
    from measure import interleaved, matrix_rate, ratios, save, summary, times

    import plugins  # noqa: F401
    from plugins.compat.allocator import keep_freed_memory
    from plugins.compat.precision import cpu_has_bfloat16

    keep_freed_memory()  # as in training; the peer profits as much
    batch, block = BATCHES[args.size]
    x, y = torch.randint(4, CHARACTERS, (2, args.batch_size or batch, block))
    suffixes = ["", BF16] if cpu_has_bfloat16() else [""]
    if len(suffixes) == 1:
        print("skipped: autocast to bfloat16, which this CPU has no instructions for (AVX512-BF16 or AMX)")
    ceilings = {str(d).removeprefix("torch."): matrix_rate("cpu", d) for d in (torch.float32, torch.bfloat16)}
    print("matrix product:", ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in ceilings.items()))
    names = [name + suffix for suffix in suffixes for name in (PEER, OURS)]
    seconds = interleaved({name: stepper(name, args.size, x, y) for name in names}, args.repeats, warmup=1)
    rows = []
    for name in names:
        speedups = {peer: summary(ratios(seconds[peer], seconds[name])) for peer in names if peer != name}
        rows.append({"contestant": name, "seconds": summary(seconds[name]), "speedups": speedups})
        ratio = "   ".join(f"{times(r)} of {p}" for p, r in speedups.items())
        print(f"{name:18} {rows[-1]['seconds']['median'] * 1e3:8.1f} ms   {ratio}", flush=True)
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "matrix_flops": ceilings, "rows": rows}))


if __name__ == "__main__":
    main()
