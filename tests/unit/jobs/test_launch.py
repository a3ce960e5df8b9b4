"""Which GPU each of several runs gets, and that no two write to one log."""

import multiprocessing
import os
import signal
import time

import pytest
import torch

from plugins.errors import UserError
from plugins.jobs import launch


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


def test_a_child_that_outlives_its_parent_keeps_its_log(monkeypatch, tmp_path):
    log, pid = tmp_path / "log", tmp_path / "pid"
    script = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()) + '.')\ntime.sleep(60)\n"
    (tmp_path / "fairseq-train").write_text(script)
    monkeypatch.setattr(launch.sysconfig, "get_path", lambda _: str(tmp_path))

    def train():
        launch.fairseq_train([], log, title="a run", updates=1, threads=1)

    launch.check_ended(log)  # there is none yet
    parent = multiprocessing.get_context("fork").Process(target=train)
    parent.start()
    while parent.is_alive() and not (pid.exists() and pid.read_text().endswith(".")):
        time.sleep(0.01)
    parent.kill()
    parent.join()
    try:
        for start in (train, lambda: launch.check_ended(log)):
            with pytest.raises(UserError, match=f"{log}: a run is still writing to it"):
                start()
    finally:
        os.kill(int(pid.read_text()[:-1]), signal.SIGKILL)
    assert log.read_text().count("$ fairseq-train") == 1
