"""Number formats of a run: what the hardware and the options allow."""

import pytest
import torch
import toy
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from plugins.compat import precision


@pytest.fixture
def check(monkeypatch):
    """Check the options of a run on a machine with or without a GPU, and with or without bfloat16."""

    def run(gpu=False, bfloat16=True, mixed=None, optimizer="fused_adamw", **common):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bfloat16, "amx_bf16": False})
        cfg = OmegaConf.structured(FairseqConfig())
        cfg.common.update(common)
        cfg.optimizer = {"_name": optimizer}
        cfg.task = {"_name": "char_lm"} | ({"mixed_precision": mixed} if mixed else {})
        precision.check(cfg)

    return run


@pytest.mark.parametrize("mixed", [None, "none"])
@pytest.mark.parametrize("gpu", [True, False])
def test_float32_needs_nothing(check, gpu, mixed):
    check(gpu=gpu, bfloat16=False, mixed=mixed)


@pytest.mark.parametrize("flag", ["fp16", "bf16", "amp"])
def test_formats_of_fairseq_need_a_gpu(check, flag):
    check(gpu=True, **{flag: True})
    with toy.refused(f"--{flag}", "--mixed-precision bf16"):
        check(**{flag: True})
    with toy.refused(f"--{flag}", "--cpu"):
        check(gpu=True, cpu=True, **{flag: True})


def test_a_cpu_without_bfloat16_is_not_recommended_it(check):
    with toy.refused("--fp16") as refusal:
        check(fp16=True, bfloat16=False)
    assert "--mixed-precision" not in str(refusal.value)


@pytest.mark.parametrize("gpu", [True, False])
def test_mixed_precision_needs_hardware_for_bfloat16(check, gpu):
    check(gpu=gpu, mixed="bf16")
    with toy.refused("--mixed-precision bf16", "Tesla V100" if gpu else "AVX512-BF16"):
        check(gpu=gpu, mixed="bf16", bfloat16=False)


def test_pure_bfloat16_needs_a_gpu_that_has_it(check):
    with toy.refused("--bf16", "Tesla V100"):
        check(gpu=True, bf16=True, bfloat16=False)
    check(gpu=True, fp16=True, bfloat16=False)


@pytest.mark.parametrize("first, second", [("fp16", "bf16"), ("fp16", "amp"), ("bf16", "amp")])
def test_formats_exclude_each_other(check, first, second):
    with toy.refused(f"--{first}", f"--{second}"):
        check(gpu=True, **{first: True, second: True})
    with toy.refused(f"--{first}", "--mixed-precision bf16"):
        check(gpu=True, mixed="bf16", **{first: True})


@pytest.mark.parametrize("base", ["fp16", "bf16"])
def test_memory_efficient_forms_depend_on_the_optimizer(check, base):
    options = {base: True, f"memory_efficient_{base}": True}
    check(gpu=True, optimizer="adam", **options)
    for optimizer in ("fused_adamw", "sgd"):
        with toy.refused(f"--memory-efficient-{base}", f"--optimizer {optimizer}"):
            check(gpu=True, optimizer=optimizer, **options)


@pytest.mark.parametrize("base", ["fp16", "bf16"])
def test_a_memory_efficient_form_without_its_base_would_train_in_float32(check, base):
    with toy.refused(f"common.memory_efficient_{base}", f"common.{base}"):
        check(gpu=True, optimizer="adam", **{f"memory_efficient_{base}": True})


@pytest.mark.parametrize("capabilities, expected", [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True),
                                                    ({"avx512_f": True, "avx512_bf16": False}, False)])  # fmt: skip
def test_bfloat16_of_a_cpu_is_detected(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.cpu_has_bfloat16() is expected


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("of_gpu", [True, False])
def test_bfloat16_is_that_of_the_device_that_trains(monkeypatch, gpu, of_gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(precision, "gpu_has_bfloat16", lambda: of_gpu)
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: not of_gpu)
    assert precision.has_bfloat16() is (gpu == of_gpu)


@pytest.mark.parametrize("gpu, cpu, expected", [(True, False, ["highest"]), (True, True, []), (False, False, [])])
def test_the_precision_of_float32_products_is_that_of_the_option_on_a_gpu(monkeypatch, gpu, cpu, expected):
    seen = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", seen.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    precision.set_matmul_precision(OmegaConf.create({"task": {"float32_matmul": "highest"}, "common": {"cpu": cpu}}))
    precision.set_matmul_precision(OmegaConf.create({"task": {}, "common": {"cpu": cpu}}))
    assert seen == expected
