"""Half precision: options that contradict each other or the hardware, and autocast in recomputed activations.

Defects: half precision without a GPU ends in an assertion of CUDA, and bfloat16 on a GPU without it is emulated slowly;
an optimizer that cannot be memory-efficient is found after the data is loaded; fairseq silently chooses one of several
number formats; ``CheckpointFunction`` recomputes activations outside of autocast, in another number format.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from plugins.errors import UserError, flag

from .patching import repaired, wrap

HALF = ("fp16", "bf16", "amp")  # half-precision flags of fairseq
MEMORY_EFFICIENT = {"memory_efficient_fp16": "fp16", "memory_efficient_bf16": "bf16"}
NOT_MEMORY_EFFICIENT = ("fused_adamw", "adamw_8bit", "sgd", "adagrad", "adadelta", "lamb")  # optimizers

HELP = {  # replaces the help of fairseq's flags, which recommends nothing and is wrong about --bf16
    "--fp16": "float16 weights and gradients, float32 copies in the optimizer, loss scaling; for GPUs without bfloat16",
    "--bf16": "bfloat16 weights and gradients, float32 copies in the optimizer, on a GPU; --mixed-precision bf16 of "
    "the tasks of this package keeps gradients in float32 and is recommended instead",
    "--amp": "torch's automatic mixed precision in float16, in training only; for GPUs without bfloat16",
    "--memory-efficient-fp16": "--fp16 without float32 copies; for the optimizers adam, adamax, nag and adafactor",
    "--memory-efficient-bf16": "--bf16 without float32 copies; for the optimizers adam, adamax, nag and adafactor",
}


def install() -> None:
    """Put the repairs in place."""
    from fairseq.modules import checkpoint_activations

    wrap(checkpoint_activations, "_checkpointed_forward", checkpointed_forward)
    repaired("--checkpoint-activations", "recomputes under the autocast of the forward pass")
    repaired("number formats", "contradicting options, and hardware without it, are found before anything is written")


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware: AVX512-BF16, AMX, or Arm's BF16."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16"))


def gpu_has_bfloat16() -> bool:
    """Return whether the GPU computes in bfloat16 without emulation."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def has_bfloat16() -> bool:
    """Return whether the device on which training runs by default multiplies bfloat16 matrices in hardware."""
    return gpu_has_bfloat16() if torch.cuda.is_available() else cpu_has_bfloat16()


def mixed_precision(task: Any) -> str:
    """Return ``--mixed-precision`` of a task's config: "bf16", or "none", which tasks of others have."""
    return str(getattr(task, "mixed_precision", None) or "none")


def check(cfg: Any) -> None:
    """Check the number formats of a training run.

    Args:
        cfg: configuration of the whole run.

    Raises:
        UserError: names the flags, and what to do.
    """
    common, mixed = cfg.common, mixed_precision(cfg.task)
    asked = [name for name in HALF if getattr(common, name, False)]
    for name, base in MEMORY_EFFICIENT.items():
        if getattr(common, name, False):
            check_memory_efficient(name, base in asked, cfg.get("optimizer"))
    flags = ["--" + name for name in asked] + ([f"--mixed-precision {mixed}"] if mixed != "none" else [])
    if len(flags) > 1:
        raise UserError(f"{' and '.join(flags)} cannot be combined; choose one, preferably --mixed-precision bf16")
    on_cpu = common.cpu or not torch.cuda.is_available()
    if on_cpu and asked:
        why = "--cpu was given" if torch.cuda.is_available() else "torch sees no GPU"
        instead = "use --mixed-precision bf16 instead" if cpu_has_bfloat16() else "leave it out to train in float32"
        raise UserError(f"{flags[0]} needs a GPU, and {why}; {instead}")
    if on_cpu and mixed == "bf16" and not cpu_has_bfloat16():
        raise UserError(f"{flags[0]}: this CPU has neither AVX512-BF16 nor AMX; leave it out to train in float32")
    if not on_cpu and (mixed == "bf16" or "bf16" in asked) and not gpu_has_bfloat16():
        raise UserError(f"{flags[0]}: {torch.cuda.get_device_name()} has no bfloat16; use --amp, or leave it out")


def check_memory_efficient(name: str, implied: bool, optimizer: Any) -> None:
    """Check ``--memory-efficient-fp16`` or ``-bf16``.

    Args:
        name: name of the option.
        implied: the option that it implies is set; with ``fairseq-hydra-train`` that is up to the user.
        optimizer: its config.

    Raises:
        UserError: names the option.
    """
    base = MEMORY_EFFICIENT[name]
    if not implied:
        raise UserError(f"common.{name}=true has no effect without common.{base}=true; set both")
    kind = getattr(optimizer, "_name", None)
    if kind in NOT_MEMORY_EFFICIENT:
        raise UserError(
            f"{flag(name)}: --optimizer {kind} has no memory-efficient form; use --{base}, or --mixed-precision bf16"
        )


def set_matmul_precision(cfg: Any) -> None:
    """Set the precision of float32 products on a GPU to the task's ``--float32-matmul``, if it has that option."""
    precision = getattr(cfg.task, "float32_matmul", None)
    if precision and not cfg.common.cpu and torch.cuda.is_available():
        torch.set_float32_matmul_precision(str(precision))


def checkpointed_forward(original: Callable, forward: Callable, offload_to_cpu: bool, *args: Any, **kwargs: Any) -> Any:
    """Run a module with activation checkpointing; the recomputation is under the autocast of this call."""
    restored = autocast_now()
    if not restored:
        return original(forward, offload_to_cpu, *args, **kwargs)

    def under_autocast(*inputs: Any, **options: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for settings in restored:
                # No cache: weights that the forward pass casts without gradients must not serve later calls with them.
                stack.enter_context(torch.autocast(cache_enabled=False, **settings))
            return forward(*inputs, **options)

    return original(under_autocast, offload_to_cpu, *args, **kwargs)


def autocast_now() -> list[dict[str, Any]]:
    """Return the arguments of the ``torch.autocast`` contexts of this thread."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return [{"device_type": kind, "dtype": torch.get_autocast_dtype(kind)} for kind in kinds]
