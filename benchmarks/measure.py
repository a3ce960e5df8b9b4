"""Shared by all benchmarks: interleaved timing, the rate of matrix products, result files with their origin."""

import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
LAYERS = (".layers.", ".layer.", ".h.")  # in the names of parameters: fairseq and ModernBERT, transformers, GPT-2


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def interleaved(contestants, repeats, warmup=2):
    """Time functions in turn, A B C A B C ..., so that a drift of the machine's speed affects all equally.

    Args:
        contestants: {name: function without arguments}.

    Returns:
        {name: list of seconds, one per repeat}.
    """
    seconds = {name: [] for name in contestants}
    for repeat in range(-warmup, repeats):
        for name, run in contestants.items():
            synchronize()
            start = time.perf_counter()
            run()
            synchronize()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(peer, own):
    """Return the pairwise ratios peer / own of two lists of seconds: above 1, own is faster."""
    return [a / b for a, b in zip(peer, own, strict=True)]


def times(ratio):
    """Format a :func:`summary` of ratios: the median, and the range."""
    return f"x {ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def peak_memory_of_process():
    """Return the peak resident memory of this process in MB (Linux).

    Not ``getrusage``, whose value is inherited from the parent process.
    """
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def matrix_rate(device, dtype=torch.float32, size=2048, repeats=7):
    """Return the FLOP/s of this machine's own matrix product, the ceiling of everything else."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = interleaved({"mm": lambda: torch.mm(a, b)}, repeats)["mm"]
    return 2 * size**3 / min(seconds)


def train_flops(model, tokens, length, predicted, width, layers, vocabulary):
    """Return the FLOPs of the forward and backward passes.

    The count is 6 for each token and weight of the layers (Kaplan et al., 2020, section 2.1), 12 for each layer,
    channel and pair of tokens for attention, and 6 for each predicted token and weight of the head's table.
    """
    named = model.named_parameters()
    in_layers = sum(p.numel() for n, p in named if p.ndim == 2 and any(part in n for part in LAYERS))
    return 6 * tokens * in_layers + 12 * layers * width * tokens * length + 6 * predicted * width * vocabulary


def machine():
    """Describe the machine and the code that is measured."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cores = len(os.sched_getaffinity(0))
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def commit():
    """Return the commit that is measured: git's, or the one that a packed check was made from."""
    packed = Path(__file__).with_name("COMMIT")
    if packed.exists():
        return packed.read_text()
    git = ["git", "-C", str(Path(__file__).parent.parent)]
    name, changed = (
        subprocess.run([*git, *words], capture_output=True, text=True).stdout.strip()
        for words in (["describe", "--always"], ["status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results"])
    )
    return name + "-dirty" * bool(changed) or None


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def save(name, result):
    """Write a result with its machine as JSON under ``results/``, and return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine()} | result, indent=1) + "\n")
    return path
