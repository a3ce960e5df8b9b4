"""Plans: published runs, and whether memory, communication or compute limits a run."""

import dataclasses
import functools
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import toy

from plugins.planning import cost, hardware, plan, run
from plugins.planning.memory import Memory, Run
from plugins.planning.models import Shape, build, shape_of


@functools.cache
def shape(arch, words=None, options=()):
    return shape_of(*build(arch, words, options), arch)


def request(**options):
    given = dict(tokens=140e9, batch=2**20, length=512, gpu="a100-40gb", gpus=8)
    return plan.PlanRequest(**given | options)


@pytest.mark.parametrize(("length", "mfu", "published"), [(512, 0.403, 156_735), (2048, 0.428, 136_334)])
def test_tokens_a_second_of_mpt_125m(length, mfu, published):
    """llm-foundry, scripts/train/benchmarking/README.md: MPT-125M on 8 x A100 40 GB, tokens/s of a GPU."""
    model = shape("causal_lm_small", 50_368, ("--block-size", "2048"))
    rate = hardware.GPUS["a100-40gb"].flops * mfu / cost.flops_per_token(model, length)
    assert rate == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(("arch", "days"), [("clap_roberta_base", 3), ("clap_roberta_large", 9)])
def test_the_published_masked_lms_have_one_utilization(arch, days):
    """EIFY/fairseq, README: 133,082 updates of 2,048 x 512 tokens on 8 x A100 40 GB, about 3 and 9 days."""
    made = plan.make(shape(arch), request(tokens=133_082 * 2**20, mfu=0.135, precision="half"))
    assert made.updates == 133_082
    assert made.hours / 24 == pytest.approx(days, rel=0.1)
    assert made.limit == "compute"


def test_flops_of_a_token():
    """6 x 84.9 M weights of layers, 12 x 12 x 768 x 512 for attention, 6 x 0.15 x 768 x 50,265 for the output."""
    assert cost.flops_per_token(shape("clap_roberta_base"), 512) == pytest.approx(601e6, rel=1e-3)


@pytest.mark.parametrize("arch", ["clap_roberta_base", "causal_lm_medium", "char_lm_small"])
def test_the_largest_batch_fits_and_the_next_does_not(arch):
    model, given = shape(arch), request(length=256)
    made = plan.make(model, given)
    for sequences, fits in ((made.largest, True), (made.largest + 1, False)):
        used = plan.predict(model, plan.run_of(given, sequences, accumulate=made.update_freq > 1)).peak
        assert (used <= made.budget) == fits
    assert made.sequences <= made.largest


def test_the_limit_is_compute_communication_or_memory():
    base = shape("clap_roberta_base")
    assert plan.make(base, request()).limit == "compute"
    assert plan.make(base, request(link=1e6)).limit == "communication"
    large = dataclasses.replace(
        base, parameters=6_000_000_000, trained=6_000_000_000, in_layers=5_900_000_000, layers=60
    )
    assert plan.make(large, request(batch=8 * 512)).limit == "memory"
    assert plan.make(large, request(batch=8 * 512, shard=True)).limit != "memory"


def test_a_ring_sends_nearly_twice_the_gradients_and_sharding_half_as_much_again():
    model = shape("char_lm_nano")
    once = 4 * model.parameters / 1e9
    assert cost.transfer_seconds(model, 1, 1e9, False) == 0
    assert cost.transfer_seconds(model, 4, 1e9, False) == pytest.approx(1.5 * once)
    assert cost.transfer_seconds(model, 4, 1e9, True, batches=2) == pytest.approx(4.5 * once)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"gpu": "abacus"}, "--gpu abacus"), ({"mfu": 1.5}, "--mfu"), ({"gpus": 0}, "--gpus"), ({"link": 0}, "--link 0")],
)
def test_impossible_requests_are_refused(options, named):
    with toy.refused(named):
        plan.make(shape("char_lm_nano"), request(**options))


def test_unknown_architectures_and_options_are_refused():
    with toy.refused("--arch", "nothing"):
        build("nothing")
    with toy.refused("--decoder-layers"):
        build("clap_roberta_tiny", None, ["--decoder-layers", "3"])
    with toy.refused("--decoder-attention-heads", "--decoder-embed-dim"):
        build("char_lm_nano", None, ["--decoder-attention-heads", "7"])


SHAPE = Shape(
    arch="toy", parameters=1000, trained=1000, in_layers=600, largest=100, factored=50, layers=2, width=10, heads=2,
    inner=40, words=30, predicted=0.5, causal=True, rotary=False, dropout=0.0, attention_dropout=0.0,
    activation_dropout=0.0, clap=False, styled=0.0,
)  # fmt: skip


def test_cost_of_a_small_shape():
    """6 x 600 in the layers, 12 x 2 x 10 x 8 for attention, 6 x .5 x 10 x 30 for the output."""
    assert cost.flops_per_token(SHAPE, 8) == 3600 + 1920 + 900
    assert cost.compute_seconds(SHAPE, 8, tokens=100, flops=6420, mfu=0.5) == 200


def test_frozen_parameters_are_gathered_and_have_no_gradients():
    frozen = dataclasses.replace(SHAPE, trained=100)
    assert cost.transfer_seconds(frozen, 2, 100, False) == 2 * 0.5 * 4 * 100 / 100
    assert cost.transfer_seconds(frozen, 2, 100, True, batches=3) == 3 * 0.5 * 4 * 2100 / 100


def test_numbers_of_a_plan():
    """1,024 tokens in sequences of 8 on 4 GPUs: 32 sequences each; 10 updates; link and network of a data sheet."""
    made = plan.make(SHAPE, request(tokens=10_200, batch=1024, length=8, gpus=4, mfu=0.5, gpu="H100"))
    assert (made.sequences, made.update_freq, made.updates) == (32, 1, 10)
    assert made.budget == pytest.approx(0.92 * 79.4e9)
    assert made.compute == pytest.approx(1024 * 6420 / (4 * 989e12 * 0.5))
    assert made.ddp == pytest.approx(2 * 0.75 * 4000 / 450e9)
    assert made.fsdp == pytest.approx(0.75 * 12_000 / 450e9)
    assert plan.make(SHAPE, request(gpu="h100", gpus=8)).ddp == pytest.approx(2 * 7 / 8 * 4000 / 450e9)
    assert plan.make(SHAPE, request(gpu="h100", gpus=9)).ddp == pytest.approx(2 * 8 / 9 * 4000 / 50e9)


def test_transfers_beyond_the_backward_pass_take_time():
    """The backward pass is two thirds of an update."""
    given = dict(tokens=10_240, batch=1024, length=8, gpus=4, gpu="h100")
    slow = plan.make(SHAPE, request(**given, link=1e3))
    assert slow.hours == pytest.approx(10 * (slow.ddp + slow.compute / 3) / 3600)
    shared = plan.make(SHAPE, request(**given, link=1e3, shard=True))
    assert shared.hours == pytest.approx(10 * shared.fsdp / 3600)
    fast = plan.make(SHAPE, request(**given, link=1e15))
    assert fast.limit == "compute" and fast.hours == pytest.approx(10 * fast.compute / 3600)


def test_a_batch_that_does_not_fit_is_accumulated():
    made = plan.make(shape("causal_lm_large"), request(batch=8 * 64 * 1024, length=1024))
    assert 1 <= made.largest < 64 and made.update_freq > 1
    assert made.update_freq * made.sequences >= 64 > (made.update_freq - 1) * made.largest
    assert made.fsdp > cost.transfer_seconds(made.shape, 8, 300e9, True)  # once for each batch


def test_a_report_has_the_numbers_of_the_plan():
    made = plan.make(SHAPE, request(tokens=10_200, batch=1024, length=8, gpus=4, mfu=0.5, gpu="h100"))
    text = plan.report(dataclasses.replace(made, memory=Memory(1e9, 2e9, 3e9, 4e9, 5.5e9), hours=2.5, largest=7))
    for line in ("| toy, 4 x h100 |", "| 0.0 M, 0.0 M in 2 layers |", "| 32 x 8 tokens x 4 GPUs, --update-freq 1 |",
                 "| 5.50 GB of 73.05 GB usable |", "| - weights | 1.00 GB |", "| - gradients | 2.00 GB |",
                 "| - optimizer state | 3.00 GB |", "| - activations and loss | 4.00 GB |", "| 7 sequences |",
                 "| updates | 10 |", "6.55e+07 in all |", "at an MFU of 50% |",
                 "| 2.5 hours, 10.0 GPU hours |"):  # fmt: skip
        assert line in text, line
    assert "not even one sequence" in plan.report(dataclasses.replace(made, largest=0))
    assert plan.as_dict(made)["request"]["gpus"] == 4


def arguments(**options):
    given = dict(arch="char_lm_nano", vocabulary=65, model_options=[], length=64, tokens=1e6, batch=640.0, gpu="h100",
                 gpus=1, mfu=0.4, optimizer="adam", precision=None, checkpoint_activations=False, shard=False,
                 link=None, json=True)  # fmt: skip
    return SimpleNamespace(**given | options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"precision": "mixed", "recompute": False, "optimizer": "adam", "shard": False, "link": None}),
        ({"precision": "half", "shard": True, "gpus": 2, "link": 5.0}, {"precision": "half", "shard": True, "link": 5}),
        ({"checkpoint_activations": True}, {"recompute": True}),
        ({"model_options": ["--checkpoint-activations"]}, {"recompute": True}),
    ],
)
def test_options_of_the_script_reach_the_plan(options, expected):
    found = json.loads(run.run(arguments(**options)))["request"]
    assert {name: found[name] for name in expected} == expected
    assert run.run(arguments(json=False)).startswith("| char_lm_nano, 1 x h100 |")


def test_a_plan_for_this_machine_is_measured(monkeypatch):
    monkeypatch.setattr(run.timing, "seconds_of_update", lambda *given: 0.5 if given[3:] == (10, 64) else None)
    found = json.loads(run.run(arguments(gpu="cpu")))
    assert found["seconds"] == 0.5 and found["hours"] == pytest.approx(1e6 / 640 * 0.5 / 3600)
    assert found["parameters"] == 804_096
    in_float32 = plan.predict(shape("char_lm_nano", 65), Run(640, 64, "adam"))
    assert found["peak_bytes"] == in_float32.peak
    text = run.run(arguments(gpu="CPU", json=False))
    assert "| 0.500 s, 1,280 tokens/s |" in text and "| 0.22 hours |" in text


def test_the_time_of_recomputed_activations_is_measured(monkeypatch):
    """The flag of the script is an option of the measured model."""
    given = []
    monkeypatch.setattr(run.timing, "seconds_of_update", lambda *found: given.append(found[2]) or 1.0)
    run.run(arguments(gpu="cpu", checkpoint_activations=True, model_options=["--dropout", "0"]))
    assert given == [["--dropout", "0", "--checkpoint-activations"]]


@pytest.mark.slow
def test_the_script_prints_a_plan_for_this_machine_and_for_gpus():
    script = [sys.executable, toy.ROOT / "scripts" / "plan_run.py", "--arch", "char_lm_nano", "--tokens", "1M"]
    cpu = subprocess.run([*script, "--gpu", "cpu", "--batch", "256", "--length", "64", "--json"], capture_output=True)
    assert json.loads(cpu.stdout)["seconds"] > 0, cpu.stderr
    gpu = subprocess.run([*script, "--gpu", "h100", "--batch", "4k", "--", "--dropout", "0"], capture_output=True)
    assert b"| limited by | compute |" in gpu.stdout, gpu.stderr


@pytest.mark.parametrize(("gpu", "links", "gigabits"), [("v100", 4, 100), ("a100", 8, 200), ("h100", 8, 400)])
def test_the_network_of_a_gpu_is_its_share_of_the_vendors_machine(gpu, links, gigabits):
    """DGX-1, DGX A100 and DGX H100 have eight GPUs."""
    assert hardware.GPUS[gpu].network == links * gigabits * 1e9 / 8 / 8


def test_data_sheets_of_gpus():
    """Dense TFLOP/s in half precision, GB, and GB/s one way: NVLink, PCIe for L40S; a network of 100 Gb/s is 12.5."""
    found = {name: (gpu.flops / 1e12, gpu.memory / 1e9, gpu.link / 1e9) for name, gpu in hardware.GPUS.items()}
    assert found == {
        "v100": (125, 32, 150), "a100-40gb": (312, 40, 300), "a100": (312, 80, 300), "h100": (989, 80, 450),
        "h200": (989, 141, 450), "l40s": (362, 48, 32),
    }  # fmt: skip
    assert hardware.GPUS["l40s"].network == 12.5e9 and hardware.GPUS["h200"].network == 50e9
    assert hardware.GPUS["a100-40gb"].network == 25e9


@pytest.mark.parametrize("option", ["tokens", "batch", "length", "gpus", "mfu"])
def test_numbers_of_a_request_are_positive(option):
    with toy.refused("--tokens", "--mfu"):
        plan.make(SHAPE, request(**{option: 0}))
    assert plan.make(SHAPE, request(mfu=1.0, tokens=1, batch=1, length=1, gpus=1)).updates == 1


def test_sequences_are_spread_over_the_batches_of_an_update(monkeypatch):
    """Ten sequences of a GPU, of which four fit: three batches of four; without accumulation five would fit."""
    monkeypatch.setattr(plan, "largest_batch", lambda *given, accumulate: 4 if accumulate else 5)
    made = plan.make(SHAPE, request(batch=10 * 8 * 4, length=8, gpus=4))
    assert (made.largest, made.update_freq, made.sequences) == (4, 3, 4)
    monkeypatch.setattr(plan, "largest_batch", lambda *given, accumulate: 4 if accumulate else 10)
    made = plan.make(SHAPE, request(batch=10 * 8 * 4, length=8, gpus=4))
    assert (made.largest, made.update_freq, made.sequences) == (10, 1, 10)
    monkeypatch.setattr(plan, "largest_batch", lambda *given, accumulate: 0)
    made = plan.make(SHAPE, request(batch=10 * 8 * 4, length=8, gpus=4))
    assert (made.update_freq, made.sequences, made.limit) == (10, 1, "memory")
    assert plan.make(SHAPE, request(batch=1, length=8, gpus=4)).sequences == 1


def test_the_search_for_the_largest_batch_ends_at_the_budget_and_at_a_million(monkeypatch):
    monkeypatch.setattr(plan, "predict", lambda shape, run: SimpleNamespace(peak=run.tokens))
    given = request(length=10)
    found = {budget: plan.largest_batch(SHAPE, given, budget, False) for budget in (9, 10, 19, 770, 779, 1e12)}
    assert found == {9: 0, 10: 1, 19: 1, 770: 77, 779: 77, 1e12: 2**20 - 1}
