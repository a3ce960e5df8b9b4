"""The bytes of all CPU tensors over time, as torch's allocator reports them to its profiler.

It is the CPU's counterpart of ``torch.cuda.max_memory_allocated``, exact and without the noise of the C library.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def peak_of(step: Callable[[], Any]) -> tuple[int, int]:
    """Run a function; return the most bytes of tensors that existed at once, and those left, beyond those before."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    results: Any = profile.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most, now


def bytes_of(tensors: Iterable[Any]) -> int:
    """Return the bytes of the storages of tensors, each counted once; other values count nothing."""
    sizes = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr() or id(storage)] = storage.nbytes()
    return sum(sizes.values())
