"""Options that cannot work: they need a package that is not installed or another option, or exclude each other.

Defects: fairseq detects this only after encoding the data, by an ImportError or an assertion, or ignores the option;
with asynchronous checkpoints and no iopath, it exits with status 0 without training.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch

from plugins.errors import UserError, flag

from .optimizers import GROUPED

SHARDED = "fully_sharded"  # fairscale's FSDP, which is no longer developed
DEPENDENT = {  # option of distributed_training that fairseq reads: names of options that it ignores without it
    ("ddp_backend", "slowmo"): ("slowmo_momentum", "slowmo_base_algorithm", "localsgd_frequency", "nprocs_per_node"),
    ("ddp_backend", SHARDED): (
        "no_reshard_after_forward", "fp32_reduce_scatter", "use_sharded_state", "not_fsdp_flatten_parameters",
    ),
    ("pipeline_model_parallel", True): (
        "pipeline_balance", "pipeline_devices", "pipeline_encoder_balance", "pipeline_encoder_devices",
        "pipeline_decoder_balance", "pipeline_decoder_devices", "pipeline_chunks", "pipeline_checkpoint",
    ),
}  # fmt: skip


def check(cfg: Any) -> None:
    """Check the options of a run.

    Raises:
        UserError: names the option and the missing package, or the other option.
    """
    check_dependent(cfg.distributed_training)
    for option, package in needed(cfg):
        if not installed(package):
            raise UserError(f"{option} needs {package}, which is not installed; leave the option out")
    if str(getattr(cfg.get("model"), "attn_implementation", "")) == "flex_attention":
        lacks = "a GPU" if cfg.common.cpu else lacking()  # on a GPU it imports torch's compiler
        if lacks:
            raise UserError(f"--attn-implementation flex_attention needs {lacks}; use sdpa")
    for option in ("compile", "compile_encoder"):
        lacks = compiler_lacking(cfg.common.cpu) if getattr(cfg.get("model"), option, False) is True else None
        if lacks:
            raise UserError(f"{flag(option)} needs {lacks}, which is not installed; leave the option out")
    kind = getattr(cfg.get("optimizer"), "_name", None)
    if cfg.distributed_training.ddp_backend == SHARDED and kind in GROUPED:
        raise UserError(f"--ddp-backend {SHARDED} and --optimizer {kind} cannot be combined; omit the former")


def lacking() -> str | None:
    """Return what this machine lacks for torch's compiler on a GPU, or None."""
    if not torch.cuda.is_available():
        return "a GPU"
    from torch.utils._triton import has_triton

    return None if has_triton() else "Triton"


def compiler_lacking(cpu: bool) -> str | None:
    """Return what this machine lacks for ``torch.compile``, or None; ``cpu``: training is on the CPU."""
    if not cpu and torch.cuda.is_available():
        return lacking()
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        return "a C++ compiler"
    return None


def check_dependent(options: Any) -> None:
    """Raise a UserError for an option that fairseq would ignore without another one."""
    from fairseq.dataclass.configs import DistributedTrainingConfig

    defaults = DistributedTrainingConfig()
    for (other, value), names in DEPENDENT.items():
        if options[other] == value:
            continue
        for name in names:
            if options[name] != getattr(defaults, name):
                missing = flag(other) if value is True else f"{flag(other)} {value}"
                raise UserError(f"{flag(name)} has no effect without {missing}; leave it out")


def needed(cfg: Any) -> Iterator[tuple[str, str]]:
    """Yield each option of a run that needs a package, as it is written, and the package."""
    distributed, common = cfg.distributed_training, cfg.common
    if distributed.ddp_backend in (SHARDED, "slowmo"):
        yield f"--ddp-backend {distributed.ddp_backend}", "fairscale"
    if distributed.zero_sharding != "none":
        yield f"--zero-sharding {distributed.zero_sharding}", "fairscale"
    if distributed.cpu_offload:
        yield "--cpu-offload", "fairscale"
    if distributed.pipeline_model_parallel:
        yield "--pipeline-model-parallel", "fairscale"
    if common.model_parallel_size > 1:
        yield f"--model-parallel-size {common.model_parallel_size}", "fairseq.model_parallel.megatron"
    if common.tpu:
        yield "--tpu", "torch_xla"
    if common.use_plasma_view:
        yield "--use-plasma-view", "pyarrow.plasma"
    if cfg.checkpoint.write_checkpoints_asynchronously:
        yield "--write-checkpoints-asynchronously", "iopath"
    optimizer = cfg.get("optimizer")
    kind = getattr(optimizer, "_name", None)
    if kind == "lamb":
        yield "--optimizer lamb", "apex"
    if kind == "cpu_adam":
        yield "--optimizer cpu_adam", "deepspeed"
    if getattr(optimizer, "fp16_adam_stats", False):
        yield "--fp16-adam-stats", "apex"


def installed(package: str) -> bool:
    """Return whether a package can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
