"""Threads and processes that read batches ahead."""

import gc
import queue
import time
import weakref
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import iterators

from plugins.compat import threads


class Numbers(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return index


def test_reading_threads_end_with_the_program(monkeypatch):
    monkeypatch.setattr(threads, "READERS", weakref.WeakSet())
    batches = iterators.BufferedIterator(2, range(1000))
    assert next(batches) == 0
    (reader,) = threads.READERS
    assert reader.is_alive()  # it waits for room
    threads.stop_reading_ahead()
    assert not reader.is_alive()


@pytest.mark.parametrize("reuse", [False, True])
def test_the_iterator_of_an_epoch_ends_without_a_garbage_collection(reuse):
    """Its worker processes are those of its loader; they are not started here, because pytest has other threads."""
    batches = iterators.EpochBatchIterator(Numbers(), list, [[0, 1], [2, 3], [4, 5]], reuse_dataloader=reuse)
    gc.disable()
    try:
        for _ in range(2):  # the second epoch asks the iterator for its batches
            loaded = batches.next_epoch_itr(shuffle=True)
            assert sorted(sum(loaded, [])) == list(range(6))
        alive = weakref.ref(batches)
        del loaded, batches
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("workers", "moves", "new"), [(1, True, True), (1, False, False), (0, True, False)])
def test_worker_processes_are_new_in_each_epoch_of_a_dataset(workers, moves, new):
    """They have copies of the dataset, which would stay in the epoch in which they were started."""
    batches = iterators.EpochBatchIterator(Numbers(), list, [[0, 1]], num_workers=workers, reuse_dataloader=True)
    loaders = []
    for _ in range(2):
        batches.next_epoch_itr(set_dataset_epoch=moves)
        loaders.append(batches.dataloader)
    assert (loaders[0] is not loaders[1]) == new


@pytest.mark.parametrize("reuse", [False, True])
def test_processes_that_no_other_epoch_uses_end_with_the_last_batch(reuse):
    batches = iterators.EpochBatchIterator(Numbers(), list, [[0, 1], [2]], reuse_dataloader=reuse)
    loaded, ended = batches.next_epoch_itr(shuffle=False), []
    loaded._itr._shutdown_workers = lambda: ended.append(True)  # as torch's iterator with processes has
    assert (next(loaded), ended) == ([0, 1], [])
    assert (next(loaded), ended) == ([2], [] if reuse else [True])


def test_processes_of_the_epoch_before_end_before_new_ones_start():
    class Reading:
        _shutdown_workers = staticmethod(lambda: ended.append(True))
        _reset = staticmethod(lambda loader: None)

        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration

    batches, ended = iterators.EpochBatchIterator(Numbers(), list, [[0]], num_workers=1, reuse_dataloader=True), []
    batches.next_epoch_itr()
    batches.dataloader._iterator = Reading()
    batches.next_epoch_itr(set_dataset_epoch=False)
    assert not ended
    batches.next_epoch_itr()
    assert ended


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
