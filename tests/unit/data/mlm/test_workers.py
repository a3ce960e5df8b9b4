"""The map over worker processes."""

import gc
import multiprocessing
import os
import signal
import time

import pytest
import toy

from plugins.data.mlm import workers
from plugins.data.mlm.workers import ordered_map, started


def later_for_small(number):
    time.sleep(0.02 if number % 2 else 0)
    return number * number


def killed_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number):
    raise ValueError(number)


@pytest.mark.parametrize("count", [1, 2])
def test_results_keep_the_order(count):
    with ordered_map(later_for_small, count) as work:
        assert list(work(range(8))) == [0, 1, 4, 9, 16, 25, 36, 49]


def test_items_are_taken_only_when_a_worker_will_soon_be_free():
    taken = []
    with ordered_map(abs, 2) as work:
        results = work(taken.append(n) or n for n in range(100))
        next(results)
        assert len(taken) <= 7


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_worker_is_raised_by_the_parent(count):
    with pytest.raises(ValueError, match="5"), ordered_map(refuse, count) as work:
        list(work([5]))


def test_a_killed_worker_ends_the_map_in_one_line():
    with toy.refused("--workers 2"), ordered_map(killed_at_three, 5) as work:
        list(work(range(20)))


def test_workers_exit_without_output_on_sigterm():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with started(1, abs) as executor:
            assert executor.submit(signal.getsignal, signal.SIGTERM).result() == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_does_not_reach_workers():
    with started(1, abs) as executor:
        assert signal.SIGINT in executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()


def test_the_handler_of_ctrl_c_and_the_garbage_collector_are_restored():
    handler, frozen = signal.getsignal(signal.SIGINT), gc.get_freeze_count()
    with ordered_map(abs, 2) as work:
        assert signal.getsignal(signal.SIGINT) is handler
        assert list(work([-1])) == [1] and gc.get_freeze_count() > frozen
    assert gc.get_freeze_count() == 0
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_ctrl_c_while_workers_start_is_raised_afterwards(monkeypatch):
    get_context = workers.multiprocessing.get_context

    def interrupted(method):
        os.kill(os.getpid(), signal.SIGINT)
        return get_context(method)

    monkeypatch.setattr(workers.multiprocessing, "get_context", interrupted)
    with pytest.raises(KeyboardInterrupt):
        started(1, abs)
    gc.unfreeze()


def test_workers_start_in_another_thread_too(tmp_path):
    """In a process of its own: a child forked by a thread destroys what torch keeps for the main thread of its parent.

    If that is a process group, which other tests make, the child waits for its threads, which a fork has not.
    """
    code = """
import threading
from plugins.data.mlm.workers import ordered_map

def work():
    with ordered_map(abs, 2) as mapped:
        print(list(mapped([-1, -2])))

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    (tmp_path / "own.py").write_text(code)
    outcome = toy.run_cli([tmp_path / "own.py"])
    assert (outcome.status, outcome.out) == (0, "[1, 2]\n"), outcome.text


@pytest.mark.parametrize("failing", [False, True])
def test_no_worker_is_left_after_the_map(failing):
    try:
        with ordered_map(later_for_small, 2) as work:
            next(iter(work(range(20))))
            assert multiprocessing.active_children()
            if failing:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert not multiprocessing.active_children()
