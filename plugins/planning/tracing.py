"""Trace the bytes of all CPU tensors over time, as reported by torch's allocator to its profiler.

This is the counterpart of ``torch.cuda.max_memory_allocated`` for CPUs: exact, and independent of the C library.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

BACKWARD = "start of the backward pass"


class Trace:
    """Context manager that records the peak bytes of tensors, relative to the start.

    Args:
        optimizer: fairseq optimizer; the last call of its ``backward`` is marked.
        gpu: whether the tensors are on a GPU.
    """

    def __init__(self, optimizer: Any = None, gpu: bool = False) -> None:
        self.optimizer, self.gpu = optimizer, gpu
        self.most = self.left = self.kept = 0

    def __enter__(self) -> "Trace":
        """Start recording."""
        if self.optimizer is not None:
            original = self.optimizer.backward

            def marked(loss: Tensor) -> None:
                self.mark()
                original(loss)

            self.optimizer.backward = marked
        if self.gpu:
            self.reset = torch.cuda.reset_peak_memory_stats
            self.reset()
            self.before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats = self.keep_peak  # type: ignore[assignment]
        else:
            os.environ.setdefault("KINETO_LOG_LEVEL", "5")
            # Not torch.profiler.profile, which loads the compiler into the process that is measured.
            self.profile: Any = torch.autograd.profiler.profile(use_kineto=True, profile_memory=True)
            self.profile.__enter__()
        return self

    def mark(self) -> None:
        """Mark the start of a backward pass."""
        if self.gpu:
            self.kept = torch.cuda.memory_allocated() - self.before
        else:
            with torch.profiler.record_function(BACKWARD):
                pass

    def keep_peak(self) -> None:
        """Record the peak, then reset it: fairseq's trainer resets it at the end of an update."""
        self.most = max(self.most, torch.cuda.max_memory_allocated() - self.before)
        self.reset()

    def __exit__(self, *error: object) -> None:
        """Stop recording."""
        if self.optimizer is not None:
            del self.optimizer.backward
        if self.gpu:
            torch.cuda.reset_peak_memory_stats = self.reset
            self.keep_peak()
            self.left = torch.cuda.memory_allocated() - self.before
            return
        self.profile.__exit__(None, None, None)
        now = 0
        for event in sorted(self.profile.kineto_results.events(), key=lambda event: event.start_ns()):
            if event.name() == "[memory]":
                now += event.nbytes()
                self.most = max(self.most, now)
            elif event.name() == BACKWARD:
                self.kept = now
        self.left = now

    def found(self) -> dict[str, int]:
        """Return the bytes relative to the start, at the peak and at the start of the last backward pass."""
        return {"beyond_state": self.most, "activations": self.kept}


def peak_of(step: Callable[[], Any]) -> tuple[int, int]:
    """Run a function; return the peak bytes of new CPU tensors, and the bytes that remain."""
    with Trace() as trace:
        step()
    return trace.most, trace.left


def bytes_of(tensors: Iterable[Any]) -> int:
    """Return the bytes of the storages of tensors, each counted once; other values are ignored."""
    sizes = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr() or id(storage)] = storage.nbytes()
    return sum(sizes.values())
