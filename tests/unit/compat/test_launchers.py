"""What torchrun and srun leave in the environment."""

import stat

import pytest
import toy

from plugins.compat.launchers import Launch, find_launch, first_host

TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "node01", "MASTER_PORT": "29500"}
SRUN = {
    "SLURM_JOB_ID": "123456", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1",
    "SLURM_STEP_NODELIST": "node[01-02]", "SLURM_STEP_NUM_NODES": "2",
}  # fmt: skip


def test_torchrun_names_the_rank_and_where_to_meet():
    launch = find_launch(TORCHRUN)
    assert launch == Launch(size=4, rank=3, port=29500)
    assert launch.address() == "env://"


def test_srun_names_the_rank_and_the_job_gives_a_port():
    assert find_launch(SRUN) == Launch(size=2, rank=1, port=33456, nodes="node[01-02]", machines=2)


def test_tasks_on_one_machine_meet_there():
    assert find_launch({**SRUN, "SLURM_STEP_NUM_NODES": "1"}).address() == "tcp://127.0.0.1:33456"


def test_tasks_on_several_machines_meet_on_the_first(tmp_path, monkeypatch):
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[01-02]" ] && printf "node01\\nnode02\\n"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_launch(SRUN).address() == "tcp://node01:33456"


def test_a_machine_without_scontrol_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with toy.refused("scontrol"):
        first_host("node[01-02]")


@pytest.mark.parametrize(
    "environment",
    [
        {}, {"WORLD_SIZE": "1", "RANK": "0"}, {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
    ],
    ids=["none", "torchrun of one", "batch script", "srun of one"],
)  # fmt: skip
def test_a_single_process_is_not_a_launch(environment):
    assert find_launch(environment) is None


@pytest.mark.parametrize("missing", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_missing_variable_is_named(missing):
    with toy.refused("WORLD_SIZE", missing):
        find_launch({name: value for name, value in TORCHRUN.items() if name != missing})


@pytest.mark.parametrize("value", ["two", "-1", "2.5"])
def test_a_variable_that_is_no_number_is_named(value):
    with toy.refused("WORLD_SIZE", value):
        find_launch({**TORCHRUN, "WORLD_SIZE": value})


@pytest.mark.parametrize("job, port", [("49999", 59999), ("50000", 10000), (None, 10000)])
def test_the_port_of_a_job_is_above_the_reserved_ones(job, port):
    environment = {**SRUN, "SLURM_JOB_ID": job} if job else {k: v for k, v in SRUN.items() if k != "SLURM_JOB_ID"}
    assert find_launch(environment).port == port
    assert find_launch({**environment, "MASTER_PORT": "7"}).port == 7


def test_older_names_of_slurm_serve_where_the_step_has_none():
    step = {name: value for name, value in SRUN.items() if name not in ("SLURM_STEP_NODELIST", "SLURM_STEP_NUM_NODES")}
    launch = find_launch({**step, "SLURM_JOB_NODELIST": "a[1-3]", "SLURM_NNODES": "3"})
    assert (launch.nodes, launch.machines) == ("a[1-3]", 3)
    assert find_launch(step).address() == "tcp://127.0.0.1:33456"  # a single machine
    with toy.refused("SLURM_PROCID"):
        find_launch({name: value for name, value in SRUN.items() if name != "SLURM_PROCID"})


def test_an_empty_list_of_hosts_is_an_error(tmp_path, monkeypatch):
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    with toy.refused("scontrol show hostnames x"):
        first_host("x")
    program.write_text("#!/bin/sh\nexit 1\n")
    with toy.refused("scontrol show hostnames x"):
        first_host("x")
