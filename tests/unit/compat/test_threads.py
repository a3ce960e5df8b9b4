"""Threads that read batches ahead."""

import weakref

from fairseq.data import iterators

from plugins.compat import threads


def test_threads_that_read_ahead_end_when_the_program_does(monkeypatch):
    monkeypatch.setattr(threads, "READERS", weakref.WeakSet())
    batches = iterators.BufferedIterator(2, range(1000))
    assert next(batches) == 0
    (reader,) = threads.READERS
    assert reader.is_alive()  # it waits for room
    threads.stop_reading_ahead()
    assert not reader.is_alive()
