"""Sharded runs: options that contradict them, and parts of state dicts, in one process; tests/integration has two."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf
from torch import nn

from plugins.compat import sharding
from plugins.modules.clap_head import ClapHead


def run_of(optimizer="fused_adamw", shard=True, **given):
    """Return the options of a run; dotted names are written with two underscores."""
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.model, cfg.task, cfg.optimizer = {"shard": shard}, {}, {"_name": optimizer}
    for name, value in given.items():
        OmegaConf.update(cfg, name.replace("__", "."), value, force_add=True)
    return cfg


@pytest.mark.parametrize("optimizer", ["fused_adamw", "adam", "sgd"])
def test_the_option_of_the_model_reaches_the_place_where_it_is_wrapped(optimizer):
    cfg = run_of(optimizer, distributed_training__distributed_world_size=2, distributed_training__heartbeat_timeout=0)
    sharding.prepare(cfg)
    assert cfg.distributed_training.shard is True and sharding.is_sharded(cfg)
    cfg.distributed_training.distributed_world_size = 1
    assert not sharding.is_sharded(cfg)


@pytest.mark.parametrize("given, named", [
    ({"common__fp16": True}, ["--fp16", "--mixed-precision bf16"]),
    ({"common__bf16": True}, ["--bf16", "--mixed-precision bf16"]),
    ({"common__amp": True}, ["--amp"]),
    ({"common__memory_efficient_fp16": True}, ["--memory-efficient-fp16"]),
    ({"common__memory_efficient_bf16": True}, ["--memory-efficient-bf16"]),
    ({"optimizer": "adafactor"}, ["--optimizer", "adafactor", "fused_adamw, adam, sgd"]),
    ({"task__rouge_sample": 4}, ["--rouge-sample 0"]),
    ({"criterion__grad_cache_rows": 8}, ["--grad-cache-rows 0"]),
    ({"model__encoder_layerdrop": 0.1}, ["--encoder-layerdrop 0"]),
    ({"ema__store_ema": True}, ["--store-ema"]),
    ({"distributed_training__heartbeat_timeout": 1}, ["--heartbeat-timeout"]),
])  # fmt: skip
def test_options_that_contradict_it_are_named_and_serve_otherwise(given, named):
    cfg = run_of(**{"distributed_training__heartbeat_timeout": -1, **given})
    with toy.refused("--shard", *named):
        sharding.prepare(cfg)
    plain = run_of(**{"distributed_training__distributed_world_size": 2, **given}, shard=False)
    sharding.prepare(plain)
    assert not sharding.is_sharded(plain)


def test_the_layers_are_the_longest_list_of_modules():
    few, many = nn.ModuleList([nn.Linear(1, 1)]), nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    assert sharding.layers_of(nn.ModuleDict({"heads": few, "layers": many})) == list(many)
    assert sharding.layers_of(nn.Linear(1, 1)) == []


def test_a_model_that_is_not_sharded_is_wrapped_as_fairseq_does():
    calls = []
    found = sharding.wrap_model(lambda *given: calls.append(given) or "wrapped", {}, "model", "group", "device")
    assert (found, calls) == ("wrapped", [({}, "model", "group", "device")])
    norm = sharding.clip_grad_norm(lambda self, most: most, SimpleNamespace(cfg=run_of(shard=False)), 0.5)
    assert norm == 0.5


@pytest.fixture
def mesh(tmp_path):
    """A mesh of one process on the CPU."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def test_a_sharded_model_keeps_its_marks_and_saves_and_loads_whole_tensors(mesh):
    from torch.distributed.tensor import DTensor

    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))
    model[1][0].weight.lr_scale, model[1][1].bias.no_weight_decay = 0.5, True
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sharding.shard(model, mesh)
    parameters = dict(model.named_parameters())
    assert all(isinstance(p, DTensor) for p in parameters.values())
    assert parameters["0.weight"].is_embedding and parameters["1.0.weight"].lr_scale == 0.5
    assert parameters["1.1.bias"].no_weight_decay and not hasattr(parameters["1.1.weight"], "no_weight_decay")
    saved = model.state_dict()
    assert all(type(saved[name]) is torch.Tensor and torch.equal(saved[name], before[name]) for name in before)
    model.load_state_dict({name: tensor + 1 for name, tensor in before.items()})
    assert torch.equal(model.state_dict()["1.0.bias"], before["1.0.bias"] + 1)


def test_the_state_of_an_optimizer_is_saved_whole_and_divided_when_it_is_loaded(mesh):
    from torch.distributed.tensor import DTensor

    model = nn.Sequential(nn.Linear(3, 2))
    sharding.shard(model, mesh)
    optimizers = [torch.optim.AdamW(model.parameters()) for _ in range(2)]
    sum(p.to_local().sum() for p in model.parameters()).backward()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizers[0].step()
    state = sharding.gather_state(optimizers[0], optimizers[0].state_dict())
    whole = state["state"][0]["exp_avg"]
    assert type(whole) is torch.Tensor and whole.tolist() == [[pytest.approx(0.1)] * 3] * 2
    divided = sharding.divide_state(optimizers[1], state)["state"]
    assert isinstance(divided[0]["exp_avg"], DTensor) and divided[0]["exp_avg"].to_local().shape == (2, 3)
    assert type(divided[0]["step"]) is torch.Tensor  # a number for all
    assert divided[0].keys() == state["state"][0].keys() and divided.keys() == state["state"].keys()


@pytest.mark.parametrize(("most", "scale"), [(0.0, 1.0), (0.5, 0.1), (2.5, 0.5), (100.0, 1.0)])
def test_gradients_of_a_sharded_model_are_clipped_by_their_whole_norm(mesh, most, scale):
    model = sharding.shard(nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1)), mesh)
    first, *others = model.parameters()
    first.grad = torch.distributed.tensor.distribute_tensor(torch.tensor([[3.0, 4.0]]), mesh)
    trainer = SimpleNamespace(cfg=run_of(distributed_training__distributed_world_size=2),
                              optimizer=SimpleNamespace(params=[first, *others]))  # fmt: skip
    sharding.prepare(trainer.cfg)
    norm = sharding.clip_grad_norm(None, trainer, most)
    assert type(norm) is torch.Tensor and norm.item() == pytest.approx(5)
    assert first.grad.to_local().tolist() == [[pytest.approx(3 * scale), pytest.approx(4 * scale)]]


def test_hooks_of_parts_see_whole_tensors(mesh):
    """That of the CLAP head saves its beta without a dimension."""
    model = nn.Sequential(OrderedDict(head=ClapHead(nn.Parameter(torch.ones(3, 2)), 2.0)))
    saved = sharding.shard(model, mesh).state_dict()
    assert saved["head.beta"].shape == () and saved["head.beta"].item() == 2.0
    model.load_state_dict({"head.beta": torch.tensor(3.0), "head.weight": torch.zeros(3, 2)})
    assert model.state_dict()["head.beta"].item() == 3.0


def test_only_tensors_of_the_shape_of_a_sharded_parameter_are_divided(mesh):
    from torch.distributed.tensor import DTensor

    parameter = next(sharding.shard(nn.Linear(2, 3), mesh).parameters())
    same, other = torch.ones(3, 2), torch.ones(3)
    assert isinstance(sharding.like(same, parameter), DTensor)
    assert sharding.like(parameter, parameter) is parameter
    for value, owner in ((other, parameter), (1.0, parameter), (same, torch.ones(3, 2)), (same, None)):
        assert sharding.like(value, owner) is value


def test_a_model_is_sharded_where_it_is_wrapped(mesh):
    from torch.distributed.tensor import DTensor

    model = sharding.wrap_model(None, {"shard": True}, nn.Linear(2, 3), torch.distributed.group.WORLD, "cpu")
    assert all(isinstance(p, DTensor) for p in model.parameters())


@pytest.mark.parametrize("size", [1, 2])
def test_the_optimizer_of_several_processes_saves_whole_tensors(size):
    cfg, built = run_of(distributed_training__distributed_world_size=size), []
    sharding.prepare(cfg)
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    trainer = SimpleNamespace(cfg=cfg, optimizer=SimpleNamespace(optimizer=optimizer))
    sharding.build_optimizer(built.append, trainer)
    assert built == [trainer]
    assert list(optimizer._optimizer_state_dict_post_hooks.values()) == [sharding.gather_state][: size - 1]
    assert list(optimizer._optimizer_load_state_dict_pre_hooks.values()) == [sharding.divide_state][: size - 1]


def test_a_run_may_have_no_option_to_shard():
    cfg = run_of(distributed_training__distributed_world_size=2)
    assert sharding.is_sharded(cfg) is False
    cfg.model = {"_name": "roberta"}
    sharding.prepare(cfg)
    assert sharding.is_sharded(cfg) is False
