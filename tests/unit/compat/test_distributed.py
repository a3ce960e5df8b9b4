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
from plugins.errors import UserError

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


@pytest.mark.parametrize("backend, by_fairseq", [("nccl", True), ("gloo", False)])
def test_data_on_a_gpu_is_gathered_by_fairseq(monkeypatch, backend, by_fairseq):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda group: backend)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 2)
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda found, data, group: found.__setitem__(slice(None), [data] * 2)
    )
    found = distributed.all_gather_list(lambda data, **options: (data, options), "x", "group")
    assert found == (("x", {"group": "group", "max_size": 16384}) if by_fairseq else ["x", "x"])


def test_every_device_is_seeded_on_a_gpu(monkeypatch):
    from fairseq import utils

    seeds = []
    monkeypatch.setattr(utils, "set_torch_seed", seeds.append)
    for rank in (0, 1):
        cfg = SimpleNamespace(common=SimpleNamespace(seed=3))
        trainer = SimpleNamespace(data_parallel_rank=rank, cfg=cfg, get_num_updates=lambda: 4, cuda=True)
        distributed.set_seed(None, trainer)
    assert seeds[0] == 7 and seeds[1] != 7


def test_other_processes_accept_a_negative_seed():
    assert draw(rank=1, updates=0, seed=-1) == draw(rank=1, updates=0, seed=1)


@pytest.mark.parametrize("environment, given, expected", [
    ({}, "pytorch_ddp", "pytorch_ddp"), (TORCHRUN, "c10d", "legacy_ddp"), (TORCHRUN, "no_c10d", "no_c10d"),
])  # fmt: skip
def test_only_torchs_wrapper_is_replaced_and_only_among_several(prepared, environment, given, expected):
    assert prepared(environment, ddp_backend=given).ddp_backend == expected


def test_a_world_of_another_size_than_the_gpus_is_refused_on_a_cpu(prepared):
    assert prepared(gpus=8, cpu=True, distributed_world_size=1).distributed_world_size == 1
    with toy.refused("--distributed-world-size 3"):
        prepared(gpus=8, cpu=True, distributed_world_size=3)
    assert prepared(gpus=8, distributed_world_size=3).distributed_world_size == 3


@pytest.mark.parametrize("rank", [-1, 2, 3])
def test_a_rank_is_below_the_size_of_the_world(rank):
    distributed.check_place(1, 2)
    with toy.refused(f"--distributed-rank {rank}", "0 to 1"):
        distributed.check_place(rank, 2)


def test_the_end_of_a_spawned_worker_is_explained(monkeypatch):
    error = raised("ProcessExitedException", "ended", 1, 7, 3, None)
    assert "exit status 3" in distributed.explain(error, 0)
    assert distributed.explain(raised("ProcessRaisedException", "\nTraceback\nKeyError: 1\n", 1, 7), 0) is None
    text = "plugins.errors.UserError: first\nplugins.errors.UserError: last\n"
    assert distributed.explain(raised("ProcessRaisedException", text, 1, 7), 0) == "last"


def test_an_error_that_was_caused_by_a_users_mistake_is_its_own(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    error = RuntimeError("gloo")
    assert distributed.explain(error, 0) is not None
    error.__cause__ = UserError("x")
    assert distributed.explain(error, 0) is None


@pytest.mark.parametrize("run", [
    lambda fail, cfg: distributed.call_main(fail, cfg, None), lambda fail, cfg: distributed.train(fail, cfg),
])  # fmt: skip
def test_a_lost_connection_is_explained_wherever_it_is_noticed(monkeypatch, run):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "prepare", lambda cfg, environment: None)
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.distributed_training.distributed_rank = 5

    def fail(*given):
        raise RuntimeError("Broken pipe")

    with toy.refused("rank 5"):
        run(fail, cfg)
    assert distributed.train(lambda *given, **more: (given, more), cfg, 1, x=2) == ((cfg, 1), {"x": 2})


def test_a_position_of_fairseq_is_taken_as_it_is():
    """Its checkpoints do not name the number of processes."""
    seen = []
    distributed.move_to(
        lambda self, state: seen.append(state), SimpleNamespace(num_shards=2), {"iterations_in_epoch": 3}
    )
    distributed.move_to(lambda self, state: seen.append(state), SimpleNamespace(num_shards=2), {"epoch": 4})
    assert seen == [{"iterations_in_epoch": 3}, {"epoch": 4, "iterations_in_epoch": 0}]
