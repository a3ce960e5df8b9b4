"""Which GPU each of several runs gets."""

import torch

from plugins import launch


def taken(queue):
    return [queue.get() for _ in range(queue.qsize())]


def with_gpus(monkeypatch, count, named=None):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)


def test_runs_take_the_gpus_in_turn_and_the_cpu_where_there_is_none(monkeypatch):
    with_gpus(monkeypatch, 2)
    assert taken(launch.devices(3)) == ["cuda:0", "cuda:1", "cuda:0"]
    assert taken(launch.devices(2, cpu=True)) == ["cpu", "cpu"]
    with_gpus(monkeypatch, 0)
    assert taken(launch.devices(2)) == ["cpu", "cpu"]


def test_only_gpus_that_the_caller_may_see_are_passed_on(monkeypatch):
    with_gpus(monkeypatch, 2, "5, GPU-ab12")
    assert launch.visible_gpus() == ["5", "GPU-ab12"]
    with_gpus(monkeypatch, 2)
    assert launch.visible_gpus() == ["0", "1"]


def test_a_child_sees_the_one_gpu_that_it_was_given(monkeypatch, tmp_path):
    with_gpus(monkeypatch, 2, "5,7")
    seen = []
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, env, **_: seen.append(env) or Finished())
    for device in ("cuda:1", "cpu", None):
        launch.fairseq_train([], tmp_path / "log", title="a run", updates=1, threads=1, device=device)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in seen] == ["7", "5,7", "5,7"]


class Finished:
    stdout, returncode = (), 0

    def wait(self, timeout=None):
        return 0

    def poll(self):
        return 0
