"""Threads and processes that read batches ahead.

Defects: the daemon thread of ``fairseq.data.iterators.BufferedIterator`` is still handling tensors when Python exits,
which aborts the process ("terminate called without an active exception") although its work is done. And the iterator
of an epoch and its ``FrozenBatchSampler`` refer to each other, so that the iterators of finished epochs and the
processes of their ``DataLoader`` live until the next garbage collection. That closes the queues of the processes before
they are told to end, and torch waits 5 seconds for each. And the processes of a ``DataLoader`` that is reused for all
epochs have copies of the dataset that stay in the first: masked LMs would predict the same tokens in each.
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
    """Return the iterator of the next epoch, with new worker processes unless the epoch of the dataset stays."""
    if self.num_workers and set_dataset_epoch and self._next_epoch_itr is None:
        self.dataloader = None  # that of a resumed run has not started its processes
    return original(self, *args, set_dataset_epoch=set_dataset_epoch, **kwargs)


def stop_reading_ahead(patience: float = 5.0) -> None:
    """End the threads, waiting at most ``patience`` seconds."""
    deadline = time.monotonic() + patience
    for reader in READERS:
        reader._max_len = 0  # the batch that it is reading is its last
        while reader.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                reader._queue.get(timeout=0.01)  # the thread waits for room in the queue, or is done
