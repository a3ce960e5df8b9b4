"""Create the output of ``scripts/plan_run.py``."""

import json
from typing import Any

import plugins  # noqa: F401 (registers the architectures)
from plugins import tables

from . import plan, timing
from .memory import predict
from .models import build, shape_of


def run(args: Any) -> str:
    """Return a plan as text.

    Args:
        args: options of the script.

    Raises:
        UserError: an architecture, option or GPU is unknown, or a number is out of range.
    """
    options = [*args.model_options, *["--checkpoint-activations"] * args.checkpoint_activations]
    model, cfg = build(args.arch, args.vocabulary, options, length=args.length)
    shape = shape_of(model, cfg, args.arch)
    gpu = args.gpu.lower()
    precision = args.precision or ("fp32" if gpu == "cpu" else "mixed")
    request = plan.PlanRequest(
        args.tokens, args.batch, args.length, gpu, args.gpus, args.mfu, args.optimizer, precision,
        bool(cfg.get("checkpoint_activations")), args.shard, args.link,
    )  # fmt: skip
    if gpu == "cpu":
        return on_cpu(args, options, shape, request)
    made = plan.make(shape, request)
    return json.dumps(plan.as_dict(made), indent=1) if args.json else plan.report(made)


def on_cpu(args: Any, options: list[str], shape: Any, request: plan.PlanRequest) -> str:
    """Return the plan of a run on this machine, as text."""
    sequences = max(1, round(request.batch / request.length))
    run = plan.run_of(request, sequences, accumulate=False, gpu=False)
    memory = predict(shape, run)
    seconds = timing.seconds_of_update(args.arch, args.vocabulary, options, sequences, request.length)
    hours = seconds * request.tokens / request.batch / plan.HOUR
    found = {"parameters": shape.parameters, "peak_bytes": memory.peak, "seconds": seconds, "hours": hours}
    if args.json:
        return json.dumps(found, indent=1)
    rows = [
        ("parameters", f"{shape.parameters / 1e6:,.1f} M"),
        ("memory of tensors", plan.gb(memory.peak)),
        ("an update", f"{seconds:.3f} s, {request.batch / seconds:,.0f} tokens/s"),
        ("time", f"{hours:,.2f} hours"),
    ]
    return tables.markdown([f"{shape.arch}, this machine", ""], rows)
