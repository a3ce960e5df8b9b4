"""The fused AdamW: fairseq's adam in one kernel, with decay on matrices."""

import copy

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import OmegaConf
from torch import nn

from plugins.modules.clap_head import ClapHead
from plugins.optim.fused_adamw import FusedAdamW, FusedAdamWConfig

FAIRSEQ = {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.1, "lr": [0.01]}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = ClapHead(self.table.weight, 2.0)

    def forward(self, x):
        return self.head(self.norm(self.linear(self.table(x))))


def ours(net, **options):
    return FusedAdamW(OmegaConf.structured(FusedAdamWConfig(**{**FAIRSEQ, **options})), list(net.parameters()))


def stock(net):
    return FairseqAdam(
        OmegaConf.structured(FairseqAdamConfig(**FAIRSEQ, tpu=False, fp16_adam_stats=False)), list(net.parameters())
    )


def step(net, optimizer, seed):
    x = torch.randint(6, (8,), generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), (x + 1) % 6).backward()
    optimizer.step()


def test_equals_fairseqs_adam_over_20_steps_when_all_decays():
    net = Net()
    twin = copy.deepcopy(net)
    optimizer, reference = ours(net, decay_all=True), stock(twin)
    for seed in range(20):
        for o in (optimizer, reference):
            o.set_lr(0.01 * (seed + 1) / 20)
        step(net, optimizer, seed)
        step(twin, reference, seed)
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_only_matrices_decay():
    net = Net()
    optimizer = ours(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    shrunk = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert shrunk == {"table.weight", "linear.weight"}
    torch.testing.assert_close(net.linear.weight, before["linear.weight"] * (1 - 0.01 * 0.1))


def test_a_matrix_marked_without_weight_decay_has_none():
    net = Net()
    net.linear.weight.no_weight_decay = True
    groups = ours(net).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert any(p is net.linear.weight for p in groups[1]["params"])


def test_every_parameter_is_in_one_group():
    net = Net()
    chosen = [id(p) for group in ours(net).param_groups for p in group["params"]]
    assert sorted(chosen) == sorted(map(id, net.parameters()))


def test_parameters_may_come_from_an_iterator():
    net = Net()
    optimizer = FusedAdamW(OmegaConf.structured(FusedAdamWConfig(**FAIRSEQ)), net.parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


@pytest.mark.parametrize("decay_all", [False, True])
def test_only_matrices_or_only_vectors_are_one_group(decay_all):
    for net in (nn.Linear(3, 3, bias=False), nn.LayerNorm(3)):
        assert sum(len(group["params"]) for group in ours(net, decay_all=decay_all).param_groups) == len(
            list(net.parameters())
        )


def test_a_restart_continues_bit_for_bit():
    net = Net()
    optimizer = ours(net)
    for seed in range(5):
        step(net, optimizer, seed)
    twin = copy.deepcopy(net)
    resumed = ours(twin)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in range(5, 10):
        step(net, optimizer, seed)
        step(twin, resumed, seed)
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_scheduled_learning_rate_is_restored_after_a_restart():
    """``reduce_lr_on_plateau`` stores its rate only in the optimizer."""
    net = Net()
    optimizer = ours(net)
    step(net, optimizer, 0)
    optimizer.set_lr(0.00125)
    resumed = ours(Net())
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.get_lr() == 0.00125


def test_the_groups_keep_their_decay_over_a_restart():
    net = Net()
    optimizer = ours(net)
    step(net, optimizer, 0)
    resumed = ours(Net())
    resumed.load_state_dict(optimizer.state_dict())
    assert [group["weight_decay"] for group in resumed.param_groups] == [0.1, 0.0]


def test_overrides_of_the_command_line_win_over_the_checkpoint():
    net = Net()
    optimizer = ours(net)
    step(net, optimizer, 0)
    resumed = ours(Net())
    resumed.load_state_dict(optimizer.state_dict(), {"lr": 0.5, "eps": 1e-3})
    assert {(group["lr"], group["eps"]) for group in resumed.param_groups} == {(0.5, 1e-3)}


@pytest.mark.parametrize("betas", ["(0.8, 0.9)", [0.8, 0.9]])
def test_betas_may_be_text_or_a_list(betas):
    assert ours(Net(), adam_betas=betas).param_groups[0]["betas"] == (0.8, 0.9)


def test_flat_parameters_are_refused():
    assert not ours(Net()).supports_flat_params


def test_it_is_the_fused_kernel():
    assert ours(Net()).param_groups[0]["fused"]


def test_a_learning_rate_may_be_a_number():
    config = OmegaConf.create({**FAIRSEQ, "lr": 0.25, "decay_all": False, "adam_eps": 0.5})
    group = FusedAdamW(config, list(Net().parameters())).param_groups[0]
    assert (group["lr"], group["eps"], group["weight_decay"]) == (0.25, 0.5, 0.1)


def test_a_state_without_scales_of_the_rate_is_fairseqs():
    """As in checkpoints of torch's own AdamW: its rate is that of parameters without a scale."""
    optimizer = ours(Net())
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["lr_scale"]
        group["lr"] = 0.5
    optimizer.load_state_dict(state)
    assert optimizer.get_lr() == 0.5 and {group["lr_scale"] for group in optimizer.param_groups} == {1.0}


def test_the_only_group_of_a_state_may_be_scaled():
    net = nn.Linear(3, 3, bias=False)
    net.weight.lr_scale = 0.5
    optimizer = ours(net)
    optimizer.set_lr(0.2)
    resumed = ours(net)
    resumed.load_state_dict(optimizer.state_dict())
    assert (resumed.param_groups[0]["lr"], resumed.get_lr()) == (0.1, 0.2)
