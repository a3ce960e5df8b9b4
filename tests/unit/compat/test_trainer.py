"""Checks before training starts."""

from types import SimpleNamespace

import pytest
import torch

from plugins.compat import trainer
from plugins.errors import UserError


def common(**given):
    return SimpleNamespace(
        **{"cpu": False, "fp16": False, "memory_efficient_fp16": False, "amp": False, "bf16": False, **given}
    )


@pytest.mark.parametrize("flag", ["fp16", "memory_efficient_fp16", "bf16", "memory_efficient_bf16", "amp"])
def test_half_precision_on_a_cpu_is_refused(flag):
    with pytest.raises(UserError, match=f"--{flag.replace('_', '-')} needs a GPU, and --cpu was given"):
        trainer.check_precision(common(cpu=True, **{flag: True}))


def test_half_precision_without_a_gpu_is_refused_and_with_one_it_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU"):
        trainer.check_precision(common(fp16=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    trainer.check_precision(common(fp16=True))
    trainer.check_precision(common(bf16=True))


def test_processes_that_fairseq_does_not_see_are_refused(monkeypatch):
    def config(world):
        return SimpleNamespace(distributed_training=SimpleNamespace(distributed_world_size=world))

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were launched.*--distributed-world-size"):
        trainer.check_world_size(config(1))
    trainer.check_world_size(config(2))
    monkeypatch.setenv("WORLD_SIZE", "1")
    trainer.check_world_size(config(1))
    monkeypatch.delenv("WORLD_SIZE")
    trainer.check_world_size(config(1))
