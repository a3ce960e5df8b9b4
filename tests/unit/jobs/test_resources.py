"""What jobs may use: devices, cores, memory."""

import pytest
import torch

from plugins.errors import UserError
from plugins.jobs import Resources, how_many, process, resources


def taken(queue):
    return [queue.get() for _ in range(queue.qsize())]


def with_gpus(monkeypatch, count, named=None):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)


def test_runs_take_the_gpus_in_turn_and_the_cpu_without_any(monkeypatch):
    with_gpus(monkeypatch, 2)
    assert taken(resources.devices(3)) == ["cuda:0", "cuda:1", "cuda:0"]
    assert taken(resources.devices(2, cpu=True)) == ["cpu", "cpu"]
    with_gpus(monkeypatch, 0)
    assert taken(resources.devices(2)) == ["cpu", "cpu"]


def test_only_gpus_that_the_caller_may_see_are_passed_on(monkeypatch):
    with_gpus(monkeypatch, 2, "5, GPU-ab12")
    assert resources.visible_gpus() == ["5", "GPU-ab12"]
    with_gpus(monkeypatch, 2)
    assert resources.visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(("device", "visible"), [("cuda:1", "7"), ("cpu", "5,7"), (None, "5,7")])
def test_a_child_sees_only_the_gpu_that_it_was_given(monkeypatch, device, visible):
    with_gpus(monkeypatch, 2, "5,7")
    assert process.environment(3, device)["CUDA_VISIBLE_DEVICES"] == visible


def test_a_child_process_has_its_threads_and_no_variables_of_a_distributed_launcher(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "2")
    found = process.environment(3, "cpu")
    assert found["OMP_NUM_THREADS"] == "3"
    assert not {"WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR"} & found.keys()


@pytest.mark.parametrize(
    ("threads", "memory", "many"),
    [(1, 1e12, 8), (2, 1e12, 4), (3, 1e12, 2), (1, 3e9, 2), (1, 1e6, 1), (16, 1e12, 1)],
)
def test_as_many_runs_as_cores_and_memory_allow(monkeypatch, threads, memory, many):
    """A run of 10 million parameters needs 1.2 GB + 20 bytes a parameter = 1.4 GB."""
    with_gpus(monkeypatch, 0)
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(resources, "free_memory", lambda: memory)
    assert how_many(10_000_000, threads) == many


def test_one_run_per_gpu(monkeypatch):
    with_gpus(monkeypatch, 3)
    assert how_many(10**9, threads=1) == 3


def test_submitted_runs_train_on_the_cpu_unless_they_ask_for_gpus(monkeypatch):
    with_gpus(monkeypatch, 0)  # as on a login node
    assert Resources(launcher="submitit").on_cpu
    assert not Resources(launcher="submitit", gpus_per_job=1).on_cpu
    assert Resources(launcher="submitit", gpus_per_job=1, cpu=True).on_cpu
    assert Resources().on_cpu


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"at_a_time": 0}, "--jobs"),
        ({"threads": 0}, "--threads"),
        ({"timeout_min": 0}, "--timeout-min"),
        ({"gpus_per_job": -1}, "--gpus-per-job"),
        ({"launcher": "slurm"}, "--launcher slurm"),
    ],
)
def test_impossible_resources_are_refused(options, named):
    with pytest.raises(UserError) as error:
        Resources(**options)
    assert named in str(error.value)


def test_without_options_one_job_of_one_thread_runs_here_for_a_day():
    found = Resources()
    assert (found.at_a_time, found.threads, found.cpu, found.launcher) == (1, 1, False, "local")
    assert (found.gpus_per_job, found.timeout_min, found.partition, found.mem_gb) == (0, 1440, None, None)


def test_jobs_use_a_gpu_that_is_there_unless_the_cpu_is_requested(monkeypatch):
    with_gpus(monkeypatch, 2)
    assert not Resources().on_cpu and Resources(cpu=True).on_cpu
    assert how_many(10**9, cpu=True) != 2 or resources.free_memory() < 1e12
    assert taken(resources.devices(1)) == ["cuda:0"]


def test_gpus_hidden_from_torch_are_not_passed_on(monkeypatch):
    with_gpus(monkeypatch, 1, "5,7")
    assert resources.visible_gpus() == ["5"]


def test_free_memory_is_that_of_the_system_or_half_of_all(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   3 kB\n")
    monkeypatch.setattr(resources, "Path", lambda path: tmp_path / path.rpartition("/")[2])
    assert resources.free_memory() == 3072
    monkeypatch.setattr(resources.os, "sysconf", {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": 6}.__getitem__)
    for text in ("MemTotal: 9 kB\n", None):
        (tmp_path / "meminfo").unlink() if text is None else (tmp_path / "meminfo").write_text(text)
        assert resources.free_memory() == 30
