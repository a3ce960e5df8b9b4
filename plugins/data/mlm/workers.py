"""A map over processes with a bounded number of tasks in flight, whose workers end with their parent."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from plugins.errors import UserError

_IN_FLIGHT = 3  # tasks per worker: one in work, two that wait, so that memory stays bounded

Task = Callable[[Any], Any]
_task: Task  # in a worker process: set once, because sending it with every item costs more


@contextmanager
def ordered_map(task: Task, workers: int) -> Iterator[Callable[[Iterable], Iterator]]:
    """Yield a ``map`` that keeps the order and takes an item only when a worker will soon be free.

    Args:
        task: called with each item; in this process if ``workers`` is 1.

    Raises:
        UserError: a worker was killed.
    """
    if workers == 1:
        yield lambda items: map(task, items)
        return
    executor = started(workers, task)
    try:
        yield lambda items: _results(executor, items, workers)
    except BrokenProcessPool:
        raise UserError(
            f"a worker process was killed, perhaps for lack of memory; --workers {workers // 2 or 1} needs less"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        gc.unfreeze()


def _results(executor: ProcessPoolExecutor, items: Iterable, workers: int) -> Iterator:
    waiting: deque[Future] = deque()
    for item in items:
        waiting.append(executor.submit(_run, item))
        if len(waiting) >= _IN_FLIGHT * workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def started(workers: int, task: Task) -> ProcessPoolExecutor:
    """Return an executor whose processes run: Ctrl-C, which reaches every process, is handled by the parent only."""
    # Workers inherit the mask. While it forks, Python drops exceptions, and another thread (of a progress bar) may
    # receive the signal: note it until then.
    received: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, lambda number, frame: received.append(number)) if in_main else None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    gc.collect()
    gc.freeze()  # collections would otherwise write to every object, and so copy all memory that processes share
    try:
        context = multiprocessing.get_context("fork")
        executor = ProcessPoolExecutor(workers, context, _start, (task, os.getpid()))
        executor.submit(int)  # starts the processes
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if in_main:
            signal.signal(signal.SIGINT, previous)
    if received:
        executor.shutdown(wait=True, cancel_futures=True)
        raise KeyboardInterrupt
    return executor


def _start(task: Task, parent: int) -> None:
    global _task
    _task = task
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler would report it
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed parent cannot end it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run(item: Any) -> Any:
    return _task(item)
