"""8-bit AdamW: one line without bitsandbytes, and which tensors keep states of 32 bits with it."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
import toy
from omegaconf import OmegaConf

from plugins.compat.optimizers import mark_embeddings
from plugins.optim.adamw_8bit import AdamW8bit, AdamW8bitConfig


def build(params):
    options = {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.1, "lr": [0.01]}
    return AdamW8bit(OmegaConf.structured(AdamW8bitConfig(**options)), params)


def test_without_bitsandbytes_it_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with toy.refused("--optimizer", "adamw_8bit", "bitsandbytes"):
        build([torch.nn.Parameter(torch.ones(2))])


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
def test_layers_have_states_of_8_bits_embeddings_and_small_tensors_of_32():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(128, 64), torch.nn.Linear(64, 128))
    mark_embeddings(model)
    optimizer = build(model.parameters())
    model(torch.arange(8)).sum().backward()
    optimizer.step()
    states = [optimizer.optimizer.state[p]["state1"].dtype for p in model.parameters()]
    assert states == [torch.float32, torch.uint8, torch.float32]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.0]


def test_the_library_gets_the_options_and_embeddings_with_32_bits(monkeypatch):
    calls = []

    class Manager:
        def register_parameters(self, params):
            calls.append(("register", list(params)))

        def override_config(self, param, name, value):
            calls.append((param, name, value))

    def made(groups, **options):
        calls.append(([dict(group) for group in groups], options))
        return torch.optim.SGD(groups, lr=options["lr"])

    optim = SimpleNamespace(GlobalOptimManager=SimpleNamespace(get_instance=Manager), AdamW8bit=made)
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=optim))
    model = torch.nn.Sequential(torch.nn.Embedding(4, 2), torch.nn.Linear(2, 4))
    mark_embeddings(model)
    params = list(model.parameters())
    build(iter(params))
    (_, registered), override, (groups, options) = calls
    assert len(registered) == 3 and all(a is b for a, b in zip(registered, params, strict=True))
    assert override[0] is params[0] and override[1:] == ("optim_bits", 32)
    assert options == {"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.1, "min_8bit_size": 4096}
    assert [group.get("weight_decay") for group in groups] == [None, 0.0]
