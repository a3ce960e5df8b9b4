"""Optimizers in half precision."""

import subprocess
import sys

import pytest
import torch


def mixed_precision(kind, params, **more):
    from fairseq.dataclass.configs import FairseqConfig
    from omegaconf import OmegaConf, open_dict

    from plugins.optim.fused_adamw import FusedAdamWConfig

    cfg = OmegaConf.structured(FairseqConfig())
    with open_dict(cfg):
        cfg.optimizer = OmegaConf.structured(FusedAdamWConfig(_name="fused_adamw", lr=[0.1], weight_decay=0.5))
        cfg.common.update(more)
    return kind.build_optimizer(cfg, params)


def test_float32_copies_keep_the_attributes_that_define_optimizer_groups():
    from fairseq.optim import FP16Optimizer

    params = [torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16)) for _ in range(3)]
    params[1].no_weight_decay, params[2].lr_scale = True, 0.25
    optimizer = mixed_precision(FP16Optimizer, params, bf16=True)
    groups = {(g["weight_decay"], g["lr_scale"]) for g in optimizer.fp32_optimizer.param_groups}
    assert groups == {(0.5, 1.0), (0.0, 1.0), (0.5, 0.25)}


@pytest.mark.parametrize("clip", [0.0, 100.0])
def test_amp_undoes_the_scale_of_the_gradients_once(clip, monkeypatch):
    from fairseq.optim import AMPOptimizer

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda **options: scaler)
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = mixed_precision(AMPOptimizer, [param])
    optimizer.fp32_optimizer._optimizer = torch.optim.SGD([param], lr=0.5)
    optimizer.backward((param * torch.tensor([1.0, 2.0])).sum())
    optimizer.clip_grad_norm(clip)
    optimizer.step()
    assert param.tolist() == [-0.5, -1.0]


@pytest.mark.parametrize(("most", "scale"), [(0.0, 1.0), (2.6, 0.2), (100.0, 1.0)])
def test_gradients_on_the_cpu_are_clipped_on_a_machine_with_a_gpu(monkeypatch, most, scale):
    from fairseq import utils

    import plugins  # noqa: F401  (repairs fairseq)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    params = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    params[0].grad, params[2].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0, 0.0])
    norm = utils.clip_grad_norm_(params, most)
    assert norm.item() == 13 and norm.device.type == "cpu"
    torch.testing.assert_close(params[0].grad, torch.tensor([3.0, 4.0]) * scale)
    torch.testing.assert_close(params[2].grad, torch.tensor([12.0, 0.0]) * scale)


def test_the_norm_of_half_precision_gradients_does_not_overflow():
    from fairseq import utils

    param = torch.nn.Parameter(torch.zeros(4, dtype=torch.float16))
    param.grad = torch.full((4,), 40000.0, dtype=torch.float16)
    assert utils.clip_grad_norm_(param, 0.0).item() == 80000
    assert utils.clip_grad_norm_([torch.nn.Parameter(torch.zeros(2))], 1.0).item() == 0


def test_amp_adapts_its_scale(monkeypatch):
    from fairseq.optim import AMPOptimizer

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1)
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda **options: scaler)
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = mixed_precision(AMPOptimizer, [param])
    for weight, scale in ((1.0, 2048.0), (float("inf"), 1024.0)):
        optimizer.zero_grad()
        optimizer.backward((param * weight).sum())
        optimizer.clip_grad_norm(0.0)
        optimizer.step()
        assert scaler.get_scale() == scale and param.isfinite().all()


def test_one_flat_vector_has_no_attributes():
    from plugins.compat import optimizers

    param, copy = torch.nn.Parameter(torch.ones(2)), torch.ones(2)
    param.lr_scale = 0.5
    for flatten, given in ((True, copy), (False, [copy])):
        made = optimizers.build_fp32_params(lambda args, params, flatten, given=given: given, None, [param], flatten)
        assert made is given and hasattr(copy, "lr_scale") is not flatten
    other = torch.ones(2)
    optimizers.build_fp32_params(lambda args, params, flatten: other, None, [param])  # flat by default
    assert not hasattr(other, "lr_scale")


def test_tables_of_embeddings_are_marked_before_the_optimizer_is_built():
    from types import SimpleNamespace

    from plugins.compat import optimizers

    model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 2))
    seen = []
    trainer = SimpleNamespace(model=model)
    optimizers.build_optimizer(lambda self: seen.append((self, model[0].weight.is_embedding)), trainer)
    assert seen == [(trainer, True)] and not hasattr(model[1].weight, "is_embedding")


def test_the_norm_is_that_of_all_processes_before_gradients_are_clipped():
    from plugins.compat.optimizers import clip_grad_norm_

    param = torch.nn.Parameter(torch.zeros(2))
    param.grad = torch.tensor([3.0, 4.0])
    assert clip_grad_norm_(param, 5.0, lambda norm: 2 * norm).item() == 10
    torch.testing.assert_close(param.grad, torch.tensor([1.5, 2.0]))
    assert clip_grad_norm_([], 1.0).item() == 0


TRAIN = """
import sys
import torch
import plugins
p = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.AdamW([p], lr=0.1, fused=True)
p.square().sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
assert (p < 1).all()
print("torch._dynamo" in sys.modules)
"""


def test_an_optimizer_does_not_load_the_compiler():
    done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
