"""Several processes: options, seeds and errors."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass.configs import FairseqConfig
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from plugins.compat import distributed

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "a,b"}


@pytest.fixture
def prepared(monkeypatch):
    """Return the options of a process, on a machine with some GPUs."""

    def prepare(environment=(), gpus=0, cpu=False, **given):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        cfg = OmegaConf.structured(FairseqConfig())
        cfg.common.cpu = cpu
        cfg.distributed_training.update({"distributed_world_size": max(1, gpus), **given})
        distributed.prepare(cfg, dict(environment))
        return cfg.distributed_training

    return prepare


@pytest.mark.parametrize("environment, address", [(TORCHRUN, "env://"), (SRUN, "tcp://127.0.0.1:10007")])
def test_a_process_on_a_cpu_joins_the_others_by_gloo(prepared, environment, address):
    options = prepared(environment)
    assert (options.distributed_world_size, options.distributed_rank) == (2, 1)
    assert options.distributed_init_method == address and options.distributed_no_spawn
    assert (options.distributed_backend, options.ddp_backend) == ("gloo", "legacy_ddp")


def test_a_process_with_one_gpu_gets_the_total_number_of_gpus(prepared):
    options = prepared(SRUN, gpus=1)
    assert (options.distributed_world_size, options.distributed_port) == (2, 10007)
    assert (options.distributed_backend, options.ddp_backend) == ("nccl", "pytorch_ddp")


def test_a_given_port_is_kept(prepared):
    assert prepared(SRUN, gpus=8, distributed_port=29500).distributed_port == 29500


def test_a_given_init_method_is_kept(prepared):
    given = {"distributed_init_method": "file:///x", "distributed_no_spawn": True, "distributed_world_size": 4}
    options = prepared(TORCHRUN, **given)
    assert {name: options[name] for name in given} == given


def test_a_cpu_run_beside_eight_gpus_is_one_process(prepared):
    assert prepared(gpus=8, cpu=True).distributed_world_size == 1


def test_a_world_that_no_process_would_start_is_refused(prepared):
    with toy.refused("--distributed-world-size 2", "torchrun --nproc_per_node 2"):
        prepared(distributed_world_size=2)


@pytest.mark.parametrize("size", [1, 2])
def test_an_address_from_which_no_process_would_start_is_refused(prepared, size):
    with toy.refused("--distributed-init-method", "--distributed-no-spawn"):
        prepared(distributed_world_size=size, distributed_init_method="file:///x")


@pytest.mark.parametrize("gpus", [0, 8])
@pytest.mark.parametrize("size", [0, -1])
def test_a_world_without_processes_is_refused(prepared, gpus, size):
    with toy.refused("--distributed-world-size"):
        prepared(gpus=gpus, distributed_world_size=size)


def test_a_process_outside_of_its_world_is_refused(prepared):
    with toy.refused("--distributed-rank 1"):
        prepared(distributed_rank=1)


def test_a_single_process_may_join_itself(prepared):
    options = prepared(distributed_init_method="env://", distributed_no_spawn=True)
    assert (options.distributed_backend, options.distributed_world_size) == ("gloo", 1)


def draw(rank, updates, seed=1):
    """Return what one process draws in one update."""
    common = SimpleNamespace(seed=seed)
    stub = SimpleNamespace(
        data_parallel_rank=rank, cfg=SimpleNamespace(common=common), get_num_updates=lambda: updates, cuda=False
    )
    Trainer._set_seed(stub)
    return torch.rand(4).tolist()


def test_processes_and_updates_draw_different_numbers_and_the_same_again():
    places = [(rank, updates, seed) for rank in range(3) for updates in range(3) for seed in (1, 2)]
    drawn = [draw(*place) for place in places]
    assert drawn == [draw(*place) for place in places]
    assert len({tuple(numbers) for numbers in drawn[6:]}) == len(drawn[6:])  # rank 0 has --seed + updates, as fairseq
    assert not {tuple(numbers) for numbers in drawn[:6]} & {tuple(numbers) for numbers in drawn[6:]}


def test_the_first_process_draws_what_a_single_one_draws():
    drawn = draw(rank=0, updates=5)
    torch.manual_seed(6)
    assert drawn == torch.rand(4).tolist()


def raised(kind, message, *more):
    return getattr(torch.multiprocessing, kind)(message, *more)


def test_the_error_of_a_spawned_worker_is_its_own_line():
    text = (
        "\n-- Process 1 terminated with the following error:\nTraceback\nplugins.errors.UserError: --lr x: a number\n"
    )
    assert distributed.explain(raised("ProcessRaisedException", text, 1, 7), 0) == "--lr x: a number"


def test_a_spawned_worker_that_was_killed_is_named():
    error = raised("ProcessExitedException", "killed", 1, 7, -9, "SIGKILL")
    assert "rank 1" in distributed.explain(error, 0) and "SIGKILL" in distributed.explain(error, 0)


@pytest.mark.parametrize("initialized", [True, False])
def test_a_lost_connection_is_explained_only_among_several(monkeypatch, initialized):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: initialized)
    error = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:2259")
    explained = distributed.explain(error, 0)
    assert (explained is not None and "rank 0" in explained) == initialized


def test_another_exception_is_not_changed(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert distributed.explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), 0) is None


def batches(shards, shard, state=None, steps=0):
    """Return what one process reads after a position, and its position after some steps."""
    data = torch.utils.data.TensorDataset(torch.arange(12))
    iterator = EpochBatchIterator(
        data, lambda rows: int(rows[0][0]), [[i] for i in range(12)], num_shards=shards, shard_id=shard
    )
    if state:
        iterator.load_state_dict(state)
    following = iterator.next_epoch_itr(shuffle=False)
    for _ in range(steps):
        next(following)
    return iterator.state_dict(), list(following)


@pytest.mark.parametrize(
    "before, steps, after, first", [(2, 3, 1, 6), (2, 4, 4, 8), (1, 4, 2, 4), (2, 3, 4, 4), (3, 2, 3, 6)]
)
def test_another_number_of_processes_continues_where_the_others_were(before, steps, after, first):
    state, _ = batches(before, 0, steps=steps)
    read = [batches(after, shard, {**state, "shuffle": False})[1] for shard in range(after)]
    assert sorted(sum(read, [])) == list(range(first, 12))


def test_processes_that_have_not_joined_do_so_when_the_run_begins(monkeypatch):
    from fairseq.distributed import utils

    called, cfg = [], OmegaConf.structured(FairseqConfig())
    monkeypatch.setattr(distributed, "prepare", lambda cfg, environment: called.append("prepare"))
    monkeypatch.setattr(utils, "infer_init_method", lambda options: called.append("infer"))
    monkeypatch.setattr(utils, "distributed_init", lambda cfg: called.append("init"))
    for size, address, expected in ((1, None, ["prepare"]), (2, None, ["prepare", "infer", "init"]),
                                    (2, "file://x", ["prepare", "init"])):  # fmt: skip
        called.clear()
        cfg.distributed_training.update({"distributed_world_size": size, "distributed_init_method": address})
        distributed.join_late(lambda cfg: called.append("original"), cfg)
        assert called == [*expected, "original"]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    called.clear()
    distributed.join_late(lambda cfg: called.append("original"), cfg)
    assert called == ["original"]


@pytest.mark.parametrize("log_format, level", [(None, "WARNING"), ("json", "INFO")])
def test_processes_do_not_announce_themselves_on_the_console(monkeypatch, log_format, level):
    import logging

    logger = logging.getLogger("fairseq.distributed.utils")
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.common.log_format = log_format
    distributed.prepare(cfg, {})
    assert logging.getLevelName(logger.level) == level


def test_an_error_that_needs_no_explanation_is_not_changed():
    error = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError) as raised:
        with distributed.explained(OmegaConf.structured(FairseqConfig())):
            raise error
    assert raised.value is error


def test_a_process_on_a_cpu_has_the_first_device_and_a_port_of_0_is_none(prepared):
    assert prepared(TORCHRUN, device_id=3).device_id == 0
    assert prepared(SRUN, gpus=1, distributed_port=0).distributed_port == 10007


def test_data_is_gathered_on_a_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        assert distributed.all_gather_list(None, {"a": [1, 2]}) == [{"a": [1, 2]}]
    finally:
        torch.distributed.destroy_process_group()


def test_a_run_is_prepared_before_its_main_function(monkeypatch):
    called, cfg = [], OmegaConf.structured(FairseqConfig())
    monkeypatch.setattr(distributed, "prepare", lambda cfg, environment: called.append("prepare"))
    found = distributed.call_main(lambda *given, **more: called.append((given, more)) or 7, cfg, "main", x=1)
    assert found == 7 and called == ["prepare", ((cfg, "main"), {"x": 1})]
