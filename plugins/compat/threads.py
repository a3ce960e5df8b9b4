"""Threads and processes that read batches ahead.

Defects of fairseq:

- The daemon thread of ``fairseq.data.iterators.BufferedIterator`` may still handle tensors when Python exits, which
  aborts the process ("terminate called without an active exception") although its work is done.
- Worker processes of finished epochs live until a garbage collection, because the iterator of an epoch and its
  ``FrozenBatchSampler`` refer to each other, and tracebacks of caught errors refer to both. The collection takes 5
  seconds per process, or prints an error if it runs in a worker of another ``DataLoader``.
- Workers of a ``DataLoader`` that is reused for all epochs have copies of the dataset that stay in the first epoch, so
  that masked LMs predict the same tokens in each.
"""

import atexit
import contextlib
import queue
import time
import weakref
from collections.abc import Callable
from typing import Any

from .patching import repaired, wrap

READERS: weakref.WeakSet = weakref.WeakSet()  # open readers of fairseq's BackgroundConsumer


def install() -> None:
    """Apply the repairs of this file, and record them."""
    from fairseq.data import iterators

    wrap(iterators.BufferedIterator, "_create_consumer", note_reader)
    wrap(iterators.FrozenBatchSampler, "__init__", refer_weakly)
    wrap(iterators.EpochBatchIterator, "next_epoch_itr", next_epoch)
    wrap(iterators.CountingIterator, "__next__", end_workers)
    atexit.register(stop_reading_ahead)
    repaired("reading ahead", "its threads end before the program; otherwise they could abort it")
    repaired("workers", "those of finished epochs end at once; otherwise each costs 5 seconds later")
    repaired("epochs", "workers know the current one, so that masks differ; fairseq's stay in the first")


def note_reader(original: Callable, self: Any) -> None:
    """Start the thread of a ``BufferedIterator`` and remember it."""
    original(self)
    READERS.add(self._consumer)


def refer_weakly(original: Callable, self: Any, ordered_batches: Any, *args: Any, **kwargs: Any) -> None:
    """Create a ``FrozenBatchSampler`` that does not keep the iterator alive whose method it calls."""
    original(self, ordered_batches, *args, **kwargs)
    if hasattr(ordered_batches, "__self__"):
        owner, function = weakref.proxy(ordered_batches.__self__), ordered_batches.__func__
        self.ordered_batches = lambda *given: function(owner, *given)


def next_epoch(original: Callable, self: Any, *args: Any, set_dataset_epoch: bool = True, **kwargs: Any) -> Any:
    """Return the iterator of the next epoch, with new worker processes unless the epoch of the dataset stays.

    Those of the epoch before are ended.
    """
    if self.num_workers and set_dataset_epoch and self._next_epoch_itr is None:
        reading = getattr(self.dataloader, "_iterator", None)
        if reading is not None:
            reading._shutdown_workers()
        self.dataloader = None  # that of a resumed run has not started its processes
    batches = original(self, *args, set_dataset_epoch=set_dataset_epoch, **kwargs)
    if not self.reuse_dataloader:
        batches.is_last_use = True  # of its worker processes
    return batches


def end_workers(original: Callable, self: Any) -> Any:
    """Return the next batch; after the last one, end worker processes that no other epoch uses."""
    batch = original(self)
    if not self.has_next() and getattr(self, "is_last_use", False) and hasattr(self._itr, "_shutdown_workers"):
        self._itr._shutdown_workers()
    return batch


def stop_reading_ahead(patience: float = 5.0) -> None:
    """End the threads, waiting at most ``patience`` seconds."""
    deadline = time.monotonic() + patience
    for reader in READERS:
        reader._max_len = 0  # the batch that it is reading is its last
        while reader.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                reader._queue.get(timeout=0.01)  # the thread waits for room in the queue, or is done
