"""Optimizers in half precision."""

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


def test_float32_copies_keep_what_the_optimiser_groups_parameters_by():
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
