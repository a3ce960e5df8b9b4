"""Bytes of tensors over time."""

import torch

from plugins.planning import tracing


class Optimizer:
    def __init__(self):
        self.losses = []

    def backward(self, loss):
        self.losses.append(loss)


def test_bytes_at_the_peak_at_the_last_backward_pass_and_at_the_end():
    optimizer = Optimizer()
    with tracing.Trace(optimizer) as trace:
        kept = torch.ones(1000)
        optimizer.backward("first")
        more = torch.ones(500)
        optimizer.backward("second")
        torch.ones(2000)
        del more
    assert trace.found() == {"activations": 6000, "beyond_state": 14_000}
    assert trace.left == kept.nbytes
    assert optimizer.losses == ["first", "second"] and "backward" not in vars(optimizer)


def test_tensors_that_existed_before_do_not_count():
    before = torch.ones(1000)
    assert tracing.peak_of(lambda: None) == (0, 0)
    kept = []
    assert tracing.peak_of(lambda: kept.append(before[:250].neg().neg())) == (2000, 1000)


def test_a_shared_storage_counts_once_and_other_values_not_at_all():
    one = torch.ones(100)
    assert tracing.bytes_of([one, one[:10], one.view(10, 10), None, 7, torch.ones(5, dtype=torch.float64)]) == 440


def test_a_gpu_reports_bytes_beyond_those_before(monkeypatch):
    now = {"allocated": 100, "peak": 0}
    resets = []

    def reset():
        resets.append(1)
        now["peak"] = now["allocated"]

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: now["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: now["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    optimizer = Optimizer()
    with tracing.Trace(optimizer, gpu=True) as trace:
        now.update(allocated=350, peak=400)
        optimizer.backward("loss")
        now.update(allocated=150, peak=900)
    assert trace.found() == {"activations": 250, "beyond_state": 800}
    assert trace.left == 50
    assert len(resets) == 2 and torch.cuda.reset_peak_memory_stats is reset
