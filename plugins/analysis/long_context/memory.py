"""Memory of an evaluation: its peak, and whether an input fits."""

import resource
from pathlib import Path

import torch

from plugins.analysis.language_model import LanguageModel
from plugins.errors import UserError

STATUS, CLEAR, SYSTEM = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
BYTES_PER_CHANNEL = 128  # and token, of an input: measured in benchmarks/long_context.py


def reset_peak(device: torch.device) -> None:
    """Reset the peak. Where the system cannot reset it for a process, the peak counts from the start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        CLEAR.write_text("5")
    except OSError:
        pass


def peak_megabytes(device: torch.device) -> float:
    """Return the peak memory since :func:`reset_peak`: allocated on a GPU, else resident in the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = STATUS.read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_fits(lm: LanguageModel, length: int) -> None:
    """Check that one input of ``length`` tokens fits into the free memory.

    Raises:
        UserError: it does not.
    """
    width = lm.options.get("decoder_embed_dim") or lm.options.get("encoder_embed_dim") or 0
    need, free = BYTES_PER_CHANNEL * width * length, free_memory(next(lm.model.parameters()).device)
    if need > free:
        raise UserError(
            f"--lengths: an input of {length:,} tokens takes about {need / 2**30:.1f} GiB and {free / 2**30:.1f} are "
            "free; leave it out"
        )


def free_memory(device: torch.device) -> float:
    """Return the free memory of a device in bytes, infinity where the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = SYSTEM.read_text().splitlines()
        return next(1024 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")
