"""Plan a training run: parameters, memory, largest batch, time, communication, and the bottleneck."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from plugins import tables
from plugins.errors import UserError

from . import cost, hardware
from .memory import Memory, Run, predict
from .models import Shape

CONTEXT = 0.6e9  # bytes of GPU memory used by CUDA and its libraries
USABLE = 0.92  # usable fraction of the remaining memory; the allocator loses some to fragmentation
HOUR = 3600.0


@dataclass(frozen=True)
class PlanRequest:
    """Parameters of a plan.

    Attributes:
        tokens: total number of training tokens.
        batch: tokens of an update, in all processes.
        length: tokens of a sequence.
        gpu: a key of :data:`.hardware.GPUS`.
        gpus: number of GPUs.
        mfu: expected model FLOPs utilization.
        optimizer, precision, recompute, shard: see :class:`.memory.Run`.
        link: bandwidth between GPUs, bytes/s one way; None: the GPU's link, or its network for several machines.
    """

    tokens: float
    batch: float
    length: int
    gpu: str
    gpus: int
    mfu: float = 0.4
    optimizer: str = "fused_adamw"
    precision: str = "mixed"
    recompute: bool = False
    shard: bool = False
    link: float | None = None


@dataclass(frozen=True)
class Plan:
    """A plan, in bytes, seconds (``hours`` excepted) and FLOPs."""

    request: PlanRequest
    shape: Shape
    memory: Memory
    budget: float
    sequences: int
    largest: int
    update_freq: int
    updates: int
    flops_per_token: float
    compute: float
    ddp: float
    fsdp: float
    hours: float
    limit: str


def make(shape: Shape, request: PlanRequest) -> Plan:
    """Plan a run.

    Raises:
        UserError: a number is out of range.
    """
    gpu = hardware.find(request.gpu)
    if min(request.tokens, request.batch, request.length, request.gpus, request.mfu) <= 0 or request.mfu > 1:
        raise UserError("--tokens, --batch, --length and --gpus are positive, and --mfu is at most 1")
    if request.link is not None and request.link <= 0:
        raise UserError(f"--link {request.link:g} is not positive")
    each = max(1, round(request.batch / request.length / request.gpus))  # sequences of a GPU in an update
    budget = (gpu.memory - CONTEXT) * USABLE
    largest = largest_batch(shape, request, budget, accumulate=False)
    if largest < each:
        largest = largest_batch(shape, request, budget, accumulate=True)
    freq = math.ceil(each / max(1, min(each, largest)))
    sequences = math.ceil(each / freq)
    memory = predict(shape, run_of(request, sequences, accumulate=freq > 1))
    link = request.link or (gpu.link if request.gpus <= hardware.IN_A_NODE else gpu.network)
    compute = cost.compute_seconds(shape, request.length, request.batch, gpu.flops * request.gpus, request.mfu)
    ddp = cost.transfer_seconds(shape, request.gpus, link, False)
    fsdp = cost.transfer_seconds(shape, request.gpus, link, True, freq)
    # Gradients are transferred during the backward pass; sharded parameters during both passes.
    exposed = max(0.0, fsdp - compute) if request.shard else max(0.0, ddp - compute * cost.BACKWARD)
    updates = math.ceil(request.tokens / request.batch)
    limit = "memory" if largest < 1 else "communication" if exposed else "compute"
    return Plan(
        request=request, shape=shape, memory=memory, budget=budget, sequences=sequences, largest=largest,
        update_freq=freq, updates=updates, flops_per_token=cost.flops_per_token(shape, request.length), compute=compute,
        ddp=ddp, fsdp=fsdp, hours=updates * (compute + exposed) / HOUR, limit=limit,
    )  # fmt: skip


def run_of(request: PlanRequest, sequences: int, accumulate: bool, gpu: bool = True) -> Run:
    """Return the options of a process with a number of sequences in a batch.

    Args:
        request: parameters of the plan.
        sequences: sequences in a batch of a process.
        accumulate: gradients are accumulated over several batches.
        gpu: the run is on GPUs.
    """
    return Run(
        sequences * request.length,
        request.length,
        request.optimizer,
        request.precision,
        gpu,
        request.recompute,
        accumulate,
        request.gpus,
        request.shard,
    )


def largest_batch(shape: Shape, request: PlanRequest, budget: float, accumulate: bool) -> int:
    """Return the maximum number of sequences in a batch that fits into a memory budget; 0 if none does.

    Args:
        shape: sizes of the model.
        request: parameters of the plan.
        budget: bytes.
        accumulate: gradients are accumulated over several batches.
    """
    low, high = 0, 1
    while predict(shape, run_of(request, high, accumulate)).peak <= budget and high < 1 << 20:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fits = predict(shape, run_of(request, middle, accumulate)).peak <= budget
        low, high = (middle, high) if fits else (low, middle)
    return low


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    return dataclasses.asdict(plan)


def report(plan: Plan) -> str:
    """Format a plan as a Markdown table."""
    request, shape, memory = plan.request, plan.shape, plan.memory
    after = "" if plan.largest else "; not even one sequence: add --shard, --checkpoint-activations or another GPU"
    rows = [
        ("parameters", f"{shape.parameters / 1e6:,.1f} M, {shape.in_layers / 1e6:,.1f} M in {shape.layers} layers"),
        (
            "batch",
            f"{plan.sequences} x {request.length} tokens x {request.gpus} GPUs, --update-freq {plan.update_freq}",
        ),
        ("memory of a GPU", f"{gb(memory.peak)} of {gb(plan.budget)} usable"),
        ("- weights", gb(memory.weights)),
        ("- gradients", gb(memory.gradients)),
        ("- optimizer state", gb(memory.optimizer)),
        ("- activations and loss", gb(memory.activations)),
        ("largest batch of a GPU", f"{plan.largest} sequences{after}"),
        ("updates", f"{plan.updates:,}"),
        ("FLOPs", f"{plan.flops_per_token / 1e6:,.0f} M a token, {plan.flops_per_token * request.tokens:.2e} in all"),
        ("an update", f"{plan.compute:.3f} s at an MFU of {request.mfu:.0%}"),
        ("transfers of an update", f"{plan.ddp:.3f} s data parallel, {plan.fsdp:.3f} s with --shard"),
        ("time", f"{plan.hours:,.1f} hours, {plan.hours * request.gpus:,.1f} GPU hours"),
        ("limited by", plan.limit),
    ]
    return tables.markdown([f"{shape.arch}, {request.gpus} x {request.gpu}", ""], rows)


def gb(size: float) -> str:
    """Return bytes as gigabytes (1e9)."""
    return f"{size / 1e9:.2f} GB"
