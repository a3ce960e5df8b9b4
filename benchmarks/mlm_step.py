"""Time one training step (forward, backward, optimizer) of clap_roberta against fairseq's own RoBERTa.

Both run in one process, in turn, on the same batches; the ratio is taken pair by pair and its median printed: above 1,
clap_roberta is faster. The peer trains with fairseq's ``adam``, clap_roberta with ``fused_adamw``.

With ``--autocast`` all train in float32 and under ``torch.autocast`` to bfloat16, in turn; each is compared with its
own float32 as well, and with the peer under the same autocast. Weights and optimizer state are float32 in both.

    python benchmarks/mlm_step.py --shape tiny base-cut --repeats 7
    python benchmarks/mlm_step.py --shape tiny base-cut --variant zero-clap --autocast
    python benchmarks/mlm_step.py --shape tiny --dropout 0 --variant zero-clap --autocast --no-memory --operators 12
"""

import argparse
import json
import subprocess
import sys
from types import SimpleNamespace

SHAPES = {  # layers, width, heads, batch, tokens, vocabulary
    "tiny": (4, 128, 4, 32, 128, 8000),
    "base-cut": (2, 768, 12, 4, 512, 50265),
    "base": (12, 768, 12, 16, 512, 50265),
    "base-2048": (12, 768, 12, 4, 2048, 50265),
}
VARIANTS = {  # name: options of clap_roberta; the peer's are those of "baseline"
    "baseline": {"head": "roberta"},
    "alibi": {"head": "roberta", "positions": "alibi"},
    "learned-clap": {"head": "clap"},
    "zero-clap": {"head": "clap", "positions": "alibi"},
}
PEER = "fairseq"
BF16 = ", autocast"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", default=["tiny", "base-cut"], choices=SHAPES)
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.1])
    parser.add_argument("--variant", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--bf16", action="store_true", help="bfloat16 weights and activations (CUDA)")
    parser.add_argument("--autocast", action="store_true", help="also under torch.autocast to bfloat16")
    parser.add_argument("--padding", action="store_true", help="pad every other sequence by an eighth")
    parser.add_argument("--compile", action="store_true", help="clap_roberta with --compile-encoder")
    parser.add_argument("--operators", type=int, metavar="N", help="also list the N operators that take most time")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peak memory")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def dictionary_of(words):
    from plugins.data.dictionaries import MaskDictionary

    dictionary = MaskDictionary()
    for i in range(words - 5):
        dictionary.add_symbol(f"w{i}")
    dictionary.add_mask()
    return dictionary


def build(variant, shape, dropout, compiled=False):
    """Return a model: fairseq's RoBERTa for the peer, else a clap_roberta."""
    from fairseq.models.roberta import RobertaModel
    from omegaconf import OmegaConf

    from plugins.models.clap_roberta import ClapRobertaModel
    from plugins.models.clap_roberta_config import ClapRobertaConfig
    from plugins.options import NO_START

    layers, width, heads, _, tokens, words = SHAPES[shape]
    dictionary = dictionary_of(words)
    task = SimpleNamespace(source_dictionary=dictionary, max_positions=lambda: tokens, cfg=None)
    size = dict(
        encoder_layers=layers, encoder_embed_dim=width, encoder_ffn_embed_dim=4 * width,
        encoder_attention_heads=heads, dropout=dropout, attention_dropout=dropout, max_positions=tokens,
    )  # fmt: skip
    if variant == PEER:
        return RobertaModel.build_model(argparse.Namespace(**size), task)
    options = ClapRobertaConfig(**size, **VARIANTS[variant], **NO_START, compile_encoder=compiled)
    return ClapRobertaModel.build_model(OmegaConf.structured(options), task)


def batch_of(shape, device, padded):
    import torch

    _, _, _, rows, tokens, words = SHAPES[shape]
    torch.manual_seed(1)
    source = torch.randint(4, words - 1, (rows, tokens))
    target = torch.where(torch.rand(rows, tokens) < 0.15, source, 1)
    if padded:
        source[::2, -tokens // 8 :] = target[::2, -tokens // 8 :] = 1
    return source.to(device), target.to(device)


def stepper(variant, shape, dropout, args):
    """Return a function that does one training step, and the model."""
    import torch
    from fairseq import modules
    from fairseq.optim.adam import FairseqAdam

    from plugins.optim.fused_adamw import FusedAdamW

    torch.manual_seed(1)
    variant, autocast = variant.removesuffix(BF16), variant.endswith(BF16)
    model = build(variant, shape, dropout, args.compile).to(args.device).train()
    if args.bf16:
        model.bfloat16()
    source, target = batch_of(shape, args.device, args.padding)
    config = SimpleNamespace(lr=[1e-4], adam_betas="(0.9, 0.98)", adam_eps=1e-6, weight_decay=0.01, decay_all=False,
                             tpu=False, use_old_adam=False, fp16_adam_stats=False)  # fmt: skip
    optimizer = (FairseqAdam if variant == PEER else FusedAdamW)(config, list(model.parameters()))
    masked = target != 1

    def step():
        with torch.autocast(args.device, torch.bfloat16, enabled=autocast):
            if variant == PEER:
                logits, _ = model(source, masked_tokens=masked)
                loss = modules.cross_entropy(logits, target[masked], reduction="sum", ignore_index=1)
            else:
                loss = model(source, masked_tokens=masked, target=target)[1]["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.optimizer.step()

    return step, model


def print_operators(name, step, count):
    """Print the operators in which five steps spend most of their time, with their shares of it."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(5):
            step()
    found = sorted(profile.key_averages(), key=lambda each: -each.self_cpu_time_total)
    total = sum(each.self_cpu_time_total for each in found)
    for each in found[:count]:
        print(f"    {name:23} {each.self_cpu_time_total / total:5.1%}  {each.key}  {each.count // 5} x")


def peak_memory(variant, shape, dropout, args):
    """Return the peak memory in MB of three steps in a process of their own, above that of the imports."""
    command = [sys.executable, __file__, "--memory-of", variant, "--shape", shape, "--dropout", str(dropout)]
    command += ["--device", args.device] + ["--bf16"] * args.bf16 + ["--padding"] * args.padding
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure_memory(args):
    import torch
    from measure import peak_memory_of_process

    import plugins  # noqa: F401

    idle = peak_memory_of_process()
    step, _ = stepper(args.memory_of, args.shape[0], args.dropout[0], args)
    for _ in range(3):
        step()
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory_of_process() - idle


def compare(shape, dropout, args, ceilings):
    """Measure the peer and the variants at one shape and one dropout; print and return a row for each.

    Args:
        ceilings: {suffix of a name: FLOP/s of a matrix product in its type}.
    """
    from measure import interleaved, ratios, summary, times, train_flops

    layers, width, _, rows, tokens, words = SHAPES[shape]
    names = [name + suffix for suffix in ceilings for name in (PEER, *args.variant)]
    built = {name: stepper(name, shape, dropout, args) for name in names}
    seconds = interleaved({name: step for name, (step, _) in built.items()}, args.repeats)
    rowset = []
    for name in names:
        flops = train_flops(built[name][1], rows * tokens, tokens, 0.15 * rows * tokens, width, layers, words)
        suffix = BF16 if name.endswith(BF16) else ""
        row = {
            "shape": shape, "dropout": dropout, "variant": name, "seconds": summary(seconds[name]),
            "speedup": summary(ratios(seconds[PEER], seconds[name])),
            "of_matrix_rate": flops / summary(seconds[name])["median"] / ceilings[suffix],
            "memory_mb": peak_memory(name, shape, dropout, args) if args.memory else None,
        }  # fmt: skip
        if suffix:
            peers = {"own float32": name.removesuffix(BF16), "fairseq, autocast": PEER + BF16}
            row["speedups"] = {peer: summary(ratios(seconds[of], seconds[name])) for peer, of in peers.items()}
        rowset.append(row)
        others = "".join(f"   x {r['median']:.2f} of {peer}" for peer, r in row.get("speedups", {}).items())
        memory = "" if row["memory_mb"] is None else f"{row['memory_mb']:8.0f} MB"
        print(
            f"{shape:10} dropout {dropout:<4} {name:23} {row['seconds']['median'] * 1e3:8.1f} ms   "
            f"{times(row['speedup'])}   "
            f"{row['of_matrix_rate']:5.0%} of the matrix rate {memory}{others}",
            flush=True,
        )
    for name in names if args.operators else ():
        print_operators(name, built[name][0], args.operators)
    return rowset


def main():
    args = parse()
    import torch
    from measure import matrix_rate, save

    import plugins  # noqa: F401
    from plugins.compat.allocator import keep_freed_memory
    from plugins.compat.precision import cpu_has_bfloat16

    if args.memory_of:
        print(json.dumps(measure_memory(args)))
        return
    keep_freed_memory()  # as in training; the peer profits as much
    types = {"": torch.bfloat16 if args.bf16 else torch.float32}
    if args.autocast and (args.device == "cuda" or cpu_has_bfloat16()):
        types[BF16] = torch.bfloat16
    elif args.autocast:
        print("skipped: autocast to bfloat16, which this CPU has no instructions for (AVX512-BF16 or AMX)")
    ceilings = {suffix: matrix_rate(args.device, dtype) for suffix, dtype in types.items()}
    for suffix, dtype in types.items():
        print(f"matrix product in {str(dtype).removeprefix('torch.')}: {ceilings[suffix] / 1e9:.0f} GFLOP/s")
    rows = [row for shape in args.shape for dropout in args.dropout for row in compare(shape, dropout, args, ceilings)]
    if args.save:
        flops = {str(types[suffix]): rate for suffix, rate in ceilings.items()}
        print("written:", save(args.save, {"command": " ".join(sys.argv), "matrix_flops": flops, "rows": rows}))


if __name__ == "__main__":
    main()
