"""Plans: published runs on paper, and what limits a run."""

import json
import subprocess
import sys

import pytest
import toy

from plugins.planning import cost, hardware, plan
from plugins.planning.models import build, shape_of


def shape(arch, words=None, options=()):
    return shape_of(*build(arch, words, options), arch)


def request(**options):
    given = dict(tokens=140e9, batch=2**20, length=512, gpu="a100-40gb", gpus=8)
    return plan.Request(**given | options)


@pytest.mark.parametrize(("length", "mfu", "published"), [(512, 0.403, 156_735), (2048, 0.428, 136_334)])
def test_tokens_a_second_of_mpt_125m(length, mfu, published):
    """llm-foundry, scripts/train/benchmarking/README.md: MPT-125M on 8 x A100 40 GB, tokens/s of a GPU."""
    model = shape("causal_lm_small", 50_368, ["--block-size", "2048"])
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


def test_what_limits():
    assert plan.make(shape("clap_roberta_base"), request()).limit == "compute"
    assert plan.make(shape("clap_roberta_base"), request(link=1e6)).limit == "communication"
    large = shape("causal_lm_xl", None, ["--decoder-layers", "200"])
    assert plan.make(large, request(batch=8 * 512)).limit == "memory"
    assert plan.make(large, request(batch=8 * 512, shard=True)).limit != "memory"


def test_a_ring_sends_nearly_twice_the_gradients_and_sharding_half_as_much_again():
    model = shape("char_lm_nano")
    once = 4 * model.parameters / 1e9
    assert cost.transfer_seconds(model, 1, 1e9, False) == 0
    assert cost.transfer_seconds(model, 4, 1e9, False) == pytest.approx(1.5 * once)
    assert cost.transfer_seconds(model, 4, 1e9, True, batches=2) == pytest.approx(4.5 * once)


@pytest.mark.parametrize(
    ("options", "named"), [({"gpu": "abacus"}, "--gpu abacus"), ({"mfu": 1.5}, "--mfu"), ({"gpus": 0}, "--gpus")]
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


@pytest.mark.slow
def test_the_script_prints_a_plan_for_this_machine_and_for_gpus():
    script = [sys.executable, toy.ROOT / "scripts" / "plan_run.py", "--arch", "char_lm_nano", "--tokens", "1M"]
    cpu = subprocess.run([*script, "--gpu", "cpu", "--batch", "256", "--length", "64", "--json"], capture_output=True)
    assert json.loads(cpu.stdout)["seconds"] > 0, cpu.stderr
    gpu = subprocess.run([*script, "--gpu", "h100", "--batch", "4k", "--", "--dropout", "0"], capture_output=True)
    assert b"| limited by | compute |" in gpu.stdout, gpu.stderr
