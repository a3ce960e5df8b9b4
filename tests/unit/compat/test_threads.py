"""Threads that read batches ahead."""

import queue
import time
import weakref
from types import SimpleNamespace

from fairseq.data import iterators

from plugins.compat import threads


def test_reading_threads_end_with_the_program(monkeypatch):
    monkeypatch.setattr(threads, "READERS", weakref.WeakSet())
    batches = iterators.BufferedIterator(2, range(1000))
    assert next(batches) == 0
    (reader,) = threads.READERS
    assert reader.is_alive()  # it waits for room
    threads.stop_reading_ahead()
    assert not reader.is_alive()


def test_a_thread_that_does_not_end_is_not_waited_for_longer_than_the_patience(monkeypatch):
    class Stuck:
        _queue = SimpleNamespace(get=lambda timeout: (_ for _ in ()).throw(queue.Empty))

        def is_alive(self):
            return True

    reader, readers = Stuck(), weakref.WeakSet()
    readers.add(reader)
    monkeypatch.setattr(threads, "READERS", readers)
    began = time.monotonic()
    threads.stop_reading_ahead(patience=0.05)
    assert 0.05 <= time.monotonic() - began < 5 and reader._max_len == 0
