"""Training steps: exactness against the CPU, speed against the peers, compiled or not, and waits of the host."""

import itertools
import warnings
from pathlib import Path

import measure
import torch

from . import models

BASE = (12, 768, 12)
TINY = (2, 64, 4)
WORDS = 50265
EXACT = (2, 256, 4, 128, 1000)
POSITIONS = ("learned", "sinusoidal", "alibi", "alibi by flex", "alibi_symmetric", "rotary")
TYPES = {  # name: type of the weights, autocast, largest relative difference
    "float32": (torch.float32, False, 1e-3),
    "autocast": (torch.float32, True, 1e-2),
    "bfloat16": (torch.bfloat16, False, 1e-2),
    "float16": (torch.float16, False, 1e-2),
}


def exact(table):
    """Compare loss and gradient norm with float32 on the CPU: positions x heads x padding x types."""
    every = POSITIONS[1:3] if table.tiny else POSITIONS
    for positions, head, padded in itertools.product(every, ("clap", "roberta"), (False, True)):
        named = dict(positions=positions, head=head, padded=padded)
        if table.out_of_time("exact", **named):
            continue
        with table.row("exact", **named):
            want = loss_and_norm(positions, head, padded, "cpu", "float32")
            row, holds = {}, True
            for name, (_, _, most) in TYPES.items():
                got = loss_and_norm(positions, head, padded, table.device, name)
                off = [a / b - 1 for a, b in zip(got, want, strict=True)]
                # A norm of gradients in half precision carries the rounding of each of its steps.
                holds &= abs(off[0]) < most and abs(off[1]) < 3 * most
                row[name] = f"{off[0]:+.0e} {off[1]:+.0e}"
            table.add("exact", holds, **named, **row)


def loss_and_norm(positions: str, head: str, padded: bool, device: str, kind: str) -> tuple[float, float]:
    """Return the loss in nats a prediction, and the norm of its gradients."""
    from plugins.criterions.clap_masked_lm import ClapMaskedLMCriterion

    dtype, autocast, _ = TYPES[kind]
    kernel = "flex_attention" if positions.endswith("flex") else "sdpa"
    model = (
        models.clap_roberta(EXACT, positions=positions.split()[0], head=head, attn_implementation=kernel)
        .to(device, dtype)
        .train()
    )
    batch = models.masked_batch(4, EXACT, device, padded)
    with torch.autocast(device, torch.bfloat16, enabled=autocast):
        loss, count, _ = ClapMaskedLMCriterion(models.task_of(EXACT))(model, batch)
    (loss / count).backward()
    norms = [p.grad.float().norm() for p in model.parameters() if p.grad is not None]
    return float(loss.detach()) / int(count), float(torch.stack(norms).norm())


def masked(table):
    """Measure steps of masked LMs of base size."""
    for precision, (tokens, rows) in itertools.product(table.precisions, sizes(table)):
        for name in (*models.OURS, *models.MLM_PEERS):
            measure_masked(table, "steps", name, tokens, rows, precision)


def compiled(table):
    """Measure compiled steps."""
    if table.tiny:
        return  # a C++ compiler takes minutes
    for name in ("learned", "alibi-flex", "alibi", "alibi-clap", "hf-roberta"):
        for tokens, rows in sizes(table):
            measure_masked(table, "compiled", name, tokens, rows, "autocast", compile=True)
    for name in models.DECODERS:
        measure_causal(table, "compiled", name, compiled=True)


def sizes(table) -> list[tuple[int, int]]:
    """Return (tokens, rows) of the batches."""
    return [(32, 2)] if table.tiny else [(512, 64), (2048, 16)]


def measure_masked(table, part: str, name: str, tokens: int, rows: int, precision: str, **options) -> None:
    shape = (*(TINY if table.tiny else BASE), tokens, 300 if table.tiny else WORDS)
    named = dict(model=name, tokens=tokens, precision=precision)
    if table.leaves_out(name) or table.out_of_time(part, **named):
        return
    with table.row(part, **named):
        batch = models.masked_batch(rows, shape, table.device)
        predicted = int((batch["target"] != 1).sum())
        contestant = models.masked_contestant(name, shape, batch, precision, **options)
        run(table, part, named, contestant, shape, rows, predicted)


def decoders(table):
    """Measure steps of decoders of the shape of GPT-2 small."""
    for name in models.DECODERS:
        measure_causal(table, "decoders", name)


def measure_causal(table, part: str, name: str, compiled: bool = False) -> None:
    tokens, rows = (32, 2) if table.tiny else (1024, 32)
    shape = (*(TINY if table.tiny else BASE), tokens, 300 if table.tiny else 50257)
    named = dict(model=name, tokens=tokens, precision="autocast")
    if table.leaves_out(name) or table.out_of_time(part, **named):
        return
    with table.row(part, **named):
        contestant = models.causal_contestant(name, shape, rows, table.device, "autocast", compiled)
        run(table, part, named, contestant, shape, rows, rows * tokens)


def run(table, part: str, named: dict, contestant: models.Contestant, shape, rows: int, predicted: int) -> None:
    """Time a contestant's step and add its row: tokens per second, fraction of the matrix rate, memory, first loss."""
    layers, width, _, tokens, words = shape
    if table.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    torch.set_float32_matmul_precision("high")  # as in training
    first = float(contestant.step().detach())
    seconds = table.seconds(contestant.step, repeats=10, warmup=4)
    torch.set_float32_matmul_precision("highest")
    flops = measure.train_flops(contestant.model, rows * tokens, tokens, predicted, width, layers, words)
    memory = torch.cuda.max_memory_allocated() / 2**30 if table.device == "cuda" else float("nan")
    table.add(
        part, **named, tokens_per_second=rows * tokens / seconds, mfu=flops / seconds / table.ceiling,
        ms=seconds * 1e3, GiB=memory, first_loss=first,
    )  # fmt: skip


def syncs(table):
    """Count the waits of the host for the device in one forward and backward pass."""
    if table.device != "cuda":
        return
    shape = (*BASE, 512, WORDS)
    for name, padded in itertools.product(models.OURS, (False, True)):
        with table.row("syncs", model=name, padded=padded):
            batch = models.masked_batch(16, shape, "cuda", padded)
            contestant = models.masked_contestant(name, shape, batch, "autocast")
            contestant.step()
            torch.cuda.set_sync_debug_mode("warn")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                with torch.autocast("cuda", torch.bfloat16):
                    loss = contestant.loss()
                loss.backward()
            torch.cuda.set_sync_debug_mode("default")
            where = sorted({f"{Path(w.filename).name}:{w.lineno}" for w in caught})
            table.add("syncs", not caught, model=name, padded=padded, waits=len(caught), where=" ".join(where))
