"""Options that need packages which are not installed, or that exclude each other."""

import pytest
import torch
import toy
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from plugins.compat import unavailable


def check(optimizer="adam", **given):
    """Check the options of a run; dotted names are written with two underscores."""
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.optimizer = {"_name": optimizer}
    for name, value in given.items():
        OmegaConf.update(cfg, name.replace("__", "."), value, force_add=True)
    unavailable.check(cfg)


def test_the_defaults_of_fairseq_need_nothing():
    check()
    unavailable.check(OmegaConf.structured(FairseqConfig()))  # fairseq-validate has no optimizer


@pytest.mark.parametrize("given, named", [
    ({"distributed_training__ddp_backend": "fully_sharded"}, ["--ddp-backend fully_sharded", "fairscale"]),
    ({"distributed_training__ddp_backend": "slowmo"}, ["--ddp-backend slowmo", "fairscale"]),
    ({"distributed_training__zero_sharding": "os"}, ["--zero-sharding os", "fairscale"]),
    ({"distributed_training__cpu_offload": True}, ["--cpu-offload", "fairscale"]),
    ({"distributed_training__pipeline_model_parallel": True}, ["--pipeline-model-parallel", "fairscale"]),
    ({"common__model_parallel_size": 2}, ["--model-parallel-size 2", "fairseq.model_parallel.megatron"]),
    ({"common__tpu": True}, ["--tpu", "torch_xla"]),
    ({"common__use_plasma_view": True}, ["--use-plasma-view", "pyarrow.plasma"]),
    ({"checkpoint__write_checkpoints_asynchronously": True}, ["--write-checkpoints-asynchronously", "iopath"]),
    ({"optimizer": "lamb"}, ["--optimizer lamb", "apex"]),
    ({"optimizer": "cpu_adam"}, ["--optimizer cpu_adam", "deepspeed"]),
    ({"optimizer__fp16_adam_stats": True}, ["--fp16-adam-stats", "apex"]),
])  # fmt: skip
def test_an_option_is_named_with_the_package_it_needs(monkeypatch, given, named):
    monkeypatch.setattr(unavailable, "installed", lambda package: False)
    with toy.refused(*named):
        check(**given)
    monkeypatch.setattr(unavailable, "installed", lambda package: True)
    check(**given)


@pytest.mark.parametrize("name, value, other", [
    ("slowmo_momentum", 0.5, "--ddp-backend slowmo"),
    ("localsgd_frequency", 4, "--ddp-backend slowmo"),
    ("nprocs_per_node", 4, "--ddp-backend slowmo"),
    ("use_sharded_state", True, "--ddp-backend fully_sharded"),
    ("pipeline_balance", "[1,1]", "--pipeline-model-parallel"),
])  # fmt: skip
def test_an_option_that_fairseq_would_ignore_is_named_with_the_one_it_needs(name, value, other):
    with toy.refused("--" + name.replace("_", "-"), other):
        check(**{f"distributed_training__{name}": value})


def test_installed_packages_are_found():
    assert unavailable.installed("torch.nn") and not unavailable.installed("no_such_package.part")


@pytest.mark.parametrize("optimizer", ["fused_adamw", "adamw_8bit"])
def test_parameters_in_groups_cannot_be_sharded(monkeypatch, optimizer):
    monkeypatch.setattr(unavailable, "installed", lambda package: True)
    with toy.refused("--ddp-backend fully_sharded", f"--optimizer {optimizer}"):
        check(optimizer, distributed_training__ddp_backend="fully_sharded")


def test_flex_attention_needs_a_gpu_and_triton(monkeypatch):
    given = {"model": {"_name": "clap_roberta", "attn_implementation": "flex_attention"}}
    monkeypatch.setattr(unavailable, "lacking", lambda: "Triton")
    with toy.refused("--attn-implementation flex_attention", "Triton"):
        check(**given)
    monkeypatch.setattr(unavailable, "lacking", lambda: None)
    check(**given)
    with toy.refused("--attn-implementation flex_attention", "GPU"):
        check(common__cpu=True, **given)


def test_the_compiler_is_imported_for_flex_attention_only(monkeypatch):
    asked = []
    monkeypatch.setattr(unavailable, "lacking", lambda: asked.append(True))  # imports it
    check(model={"_name": "clap_roberta", "attn_implementation": "sdpa"})
    assert not asked
    check(model={"_name": "clap_roberta", "attn_implementation": "flex_attention"})
    assert asked


@pytest.mark.parametrize("gpu, triton, lacks", [(False, True, "a GPU"), (True, False, "Triton"), (True, True, None)])
def test_what_the_machine_lacks_for_flex_attention(monkeypatch, gpu, triton, lacks):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: triton)
    assert unavailable.lacking() == lacks


@pytest.mark.parametrize("option", ["compile", "compile_encoder"])
def test_compiling_needs_a_compiler(monkeypatch, option):
    asked = []
    monkeypatch.setattr(unavailable, "compiler_lacking", lambda cpu: asked.append(cpu) or "Triton")
    check(model={"_name": "clap_roberta", option: False})
    assert not asked  # it is imported
    with toy.refused("--" + option.replace("_", "-"), "Triton"):
        check(model={"_name": "clap_roberta", option: True}, common__cpu=True)
    assert asked == [True]


def test_what_the_machine_lacks_to_compile(monkeypatch):
    from torch._inductor import cpp_builder, exc

    def missing():
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(unavailable, "lacking", lambda: "Triton")
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert unavailable.compiler_lacking(cpu=False) == "Triton" and "C++" in unavailable.compiler_lacking(cpu=True)
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda: "g++")
    assert unavailable.compiler_lacking(cpu=True) is None


def test_options_of_a_backend_pass_with_it(monkeypatch):
    monkeypatch.setattr(unavailable, "installed", lambda package: True)
    check(distributed_training__ddp_backend="slowmo", distributed_training__localsgd_frequency=4)
    check("adam", distributed_training__ddp_backend="fully_sharded", distributed_training__fp32_reduce_scatter=True)
