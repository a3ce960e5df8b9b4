"""Time one training step (forward, backward, optimizer) of tuned GPT-2s against peft + transformers on the same shape.

Both have the same weights, batches and method, and run in one process, in turn; the ratio of their speeds is taken pair
by pair and its median printed: above 1, causal_lm is faster. The peer is transformers' GPT2LMHeadModel (attention by
``sdpa``) with ``labels``, the peft library around it, and torch's AdamW; causal_lm trains with ``fused_adamw``. Peak
memory is that of a process of its own, above its imports. The losses of the first step are compared before anything is
timed.

With ``--mixed-precision bf16`` both also train under ``torch.autocast`` to bfloat16, in turn with float32: the gain
over the own float32, and the speed relative to the peer under the same autocast.

    python benchmarks/peft_train.py --shape tiny small-cut --repeats 7
    python benchmarks/peft_train.py --shape tiny --mixed-precision bf16 --no-memory
"""

import argparse
import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

SHAPES = {  # layers, width, heads, batch, tokens, vocabulary
    "tiny": (4, 256, 4, 8, 128, 8000),
    "small-cut": (2, 768, 12, 2, 256, 50257),
    "small": (12, 768, 12, 4, 512, 50257),
}
METHODS = {
    "full": {},
    "lora": {"peft": "lora", "lora_rank": 16},
    "prompt": {"peft": "prompt", "prompt_tokens": 24},
    "last_layer": {"peft": "last_layer"},
}
OURS, PEER = "causal_lm", "peft + transformers"
BF16 = ", autocast"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", default=["tiny", "small-cut"], choices=SHAPES)
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--dropout", type=float, default=0.0, help="GPT-2's own is 0.1")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compile", action="store_true", help="torch.compile the layers of both")
    parser.add_argument(
        "--mixed-precision", choices=["none", "bf16"], default="none", help="bf16: both also under torch.autocast"
    )
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peak memory")
    parser.add_argument("--memory-of", choices=[OURS, PEER], help=argparse.SUPPRESS)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def build_ours(method, shape, dropout):
    """Return a tuned causal_lm, and the weights of its base."""
    import torch
    from omegaconf import OmegaConf

    from plugins import peft
    from plugins.models.causal_lm import CausalLanguageModel
    from plugins.models.causal_lm_config import CausalLMConfig
    from plugins.options import NO_START

    layers, width, heads, _, tokens, words = SHAPES[shape]
    cfg = OmegaConf.structured(
        CausalLMConfig(**NO_START, decoder_layers=layers, decoder_embed_dim=width, decoder_attention_heads=heads,
                       block_size=tokens + 24, dropout=dropout)
    )  # fmt: skip

    class Words(list):
        def pad(self):
            return len(self)

    torch.manual_seed(1)
    model = CausalLanguageModel.build_model(cfg, SimpleNamespace(source_dictionary=Words(range(words))))
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if METHODS[method]:
        options = OmegaConf.structured(peft.PeftConfig(**METHODS[method]))
        peft.complete(options)
        peft.tune(model, options, words=range(24))
    return model, base


def build_peer(method, shape, dropout, base):
    """Return transformers' GPT-2 with the same weights, tuned by the peft library."""
    import peft
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, heads, _, tokens, words = SHAPES[shape]
    config = GPT2Config(
        vocab_size=words, n_positions=tokens + 24, n_embd=width, n_layer=layers, n_head=heads, use_cache=False,
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, attn_implementation="sdpa",
        tie_word_embeddings=method != "last_layer", bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    names = {name: name.removeprefix("decoder.") for name in base}
    linear = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # stored as (in, out)
    model.load_state_dict({names[n]: t.t() if n.endswith(linear) else t for n, t in base.items()})
    if method == "last_layer":
        model.requires_grad_(False)
        model.lm_head.weight.requires_grad_(True)
    elif method == "lora":
        lora = peft.LoraConfig(
            r=16, lora_alpha=32, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM"
        )
        model = peft.get_peft_model(model, lora)
    elif method == "prompt":
        model = peft.get_peft_model(model, peft.PromptTuningConfig(num_virtual_tokens=24, task_type="CAUSAL_LM"))
        with torch.no_grad():
            table = base["decoder.transformer.wte.weight"]
            next(p for p in model.parameters() if p.requires_grad).copy_(table[:24])
    return model


def compile_layers(model):
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and hasattr(module[0], "attn"):
            for block in module:
                block.compile()


def stepper(name, method, shape, args):
    """Return a function that does one training step and returns the loss, a tensor: nats a token."""
    import torch

    from plugins.optim.fused_adamw import FusedAdamW

    name, autocast = name.removesuffix(BF16), name.endswith(BF16)
    _, _, _, batch, tokens, words = SHAPES[shape]
    torch.manual_seed(2)
    text = torch.randint(words, (batch, tokens), device=args.device)
    model, base = build_ours(method, shape, args.dropout)
    if name == PEER:
        model = build_peer(method, shape, args.dropout, base)
    del base
    model.to(args.device).train()
    if args.compile:
        compile_layers(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    if name == PEER:
        optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)
    else:
        options = SimpleNamespace(
            lr=[1e-5], adam_betas="(0.9, 0.98)", adam_eps=1e-6, weight_decay=0.01, decay_all=False
        )
        optimizer = FusedAdamW(options, trained).optimizer
    source, target = text[:, :-1], text[:, 1:]
    labels = text.clone()
    labels[:, 0] = -100  # the peft library would have the prompt predict it

    def step():
        with torch.autocast(args.device, torch.bfloat16, enabled=autocast):
            if name == PEER:
                loss = model(input_ids=text, labels=labels).loss
            else:
                loss = model(source, target=target)[1]["loss"] / target.numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def peak_memory(name, method, shape, args):
    """Return the peak memory in MB of three steps in a process of their own, above that of the imports."""
    command = [sys.executable, __file__, "--memory-of", name, "--method", method, "--shape", shape]
    command += ["--dropout", str(args.dropout), "--device", args.device]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure_memory(args):
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401
    from measure import peak_memory_of_process
    from peft import inject_adapter_in_model  # noqa: F401
    from transformers import GPT2LMHeadModel  # noqa: F401

    idle = peak_memory_of_process()
    step = stepper(args.memory_of, args.method[0], args.shape[0], args)
    for _ in range(3):
        step()
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory_of_process() - idle


def compare(method, shape, args):
    """Measure one method at one shape; print and return a row."""
    from measure import interleaved, ratios, summary, times

    _, _, _, batch, tokens, _ = SHAPES[shape]
    names = [PEER, OURS] + [PEER + BF16, OURS + BF16] * (args.mixed_precision == "bf16")
    steps = {name: stepper(name, method, shape, args) for name in names}
    losses = {name: step().item() for name, step in steps.items()}
    if not args.dropout and abs(losses[OURS] - losses[PEER]) > 1e-3:
        sys.exit(f"error: {method} at {shape}: not the same function, the losses are {losses}")
    seconds = interleaved(steps, args.repeats)
    row = {
        "shape": shape, "method": method, "dropout": args.dropout, "losses": losses,
        "tokens_per_second": {n: batch * tokens / summary(s)["median"] for n, s in seconds.items()},
        "speedup": summary(ratios(seconds[PEER], seconds[OURS])),
        "memory_mb": {n: peak_memory(n, method, shape, args) for n in (PEER, OURS)} if args.memory else None,
    }  # fmt: skip
    if args.mixed_precision == "bf16":
        of_own = summary(ratios(seconds[OURS], seconds[OURS + BF16]))
        of_peer = summary(ratios(seconds[PEER + BF16], seconds[OURS + BF16]))
        row |= {"gain_of_bf16": of_own, "speedup_under_autocast": of_peer}
        print(
            f"{shape:10} {method:11} bf16: {times(of_own)} of our float32, {times(of_peer)} of the peer's autocast",
            flush=True,
        )
    speed, memory, ratio = row["tokens_per_second"], row["memory_mb"], row["speedup"]
    held = "" if memory is None else f"   {memory[PEER]:6.0f} -> {memory[OURS]:6.0f} MB"
    print(
        f"{shape:10} {method:11} {speed[PEER]:7.0f} -> {speed[OURS]:7.0f} tokens/s   {times(ratio)}{held}",
        flush=True,
    )
    return row


def main():
    args = parse()
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from measure import save

    import plugins  # noqa: F401

    if args.memory_of:
        print(json.dumps(measure_memory(args)))
        return
    rows = []
    for shape, method in itertools.product(args.shape, args.method):
        rows.append(compare(method, shape, args))
        if args.save:  # after each row, because all rows take a while
            path = save(args.save, {"command": " ".join(sys.argv), "rows": rows})
    if args.save:
        print("written:", path)


if __name__ == "__main__":
    main()
