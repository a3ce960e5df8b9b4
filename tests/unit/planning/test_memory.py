"""The predicted memory is that of torch's allocator within 10 %, for every kind of model and option."""

import dataclasses

import pytest
import torch

from plugins.planning.memory import Run, predict, state_bytes
from plugins.planning.models import build, shape_of
from plugins.planning.timing import loss_of
from plugins.planning.tracing import Trace, bytes_of, peak_of

PLAIN = ["--dropout", "0", "--attention-dropout", "0"]
RECOMPUTE = "--checkpoint-activations"
# architecture, options, sequences, tokens of each, words: dominated by activations, by the state, or by the output
CASES = [
    ("clap_roberta_tiny", [], 8, 64, 2000),
    ("clap_roberta_tiny", PLAIN, 8, 64, 2000),
    ("clap_roberta_tiny", [], 1, 16, 20_000),
    ("clap_roberta_tiny", ["--head", "roberta", "--positions", "alibi", "--attention-dropout", "0"], 8, 64, 2000),
    ("clap_roberta_tiny", ["--positions", "rotary", "--activation-dropout", "0.1"], 8, 32, 2000),
    ("clap_roberta_tiny", [RECOMPUTE, "--encoder-layers", "8"], 8, 64, 2000),
    ("causal_lm_tiny", [], 4, 64, 3000),
    ("causal_lm_tiny", PLAIN, 1, 16, 3000),
    ("causal_lm_tiny", [RECOMPUTE], 4, 64, 3000),
    ("char_lm_nano", ["--dropout", "0.2"], 4, 64, 65),
    ("style_char_lm_nano", [], 4, 64, 65),
]


def measured(arch, options, batch, length, words, updates=1):
    """The peak bytes of an update after the first, and what is predicted."""
    torch.manual_seed(0)
    model, cfg = build(arch, words, options, length, fake=False)
    loss = loss_of(model.train(), cfg, batch, length)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step():
        optimizer.zero_grad()
        for _ in range(updates):
            loss().backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    state = bytes_of([*model.parameters(), *(v for kept in optimizer.state.values() for v in kept.values())])
    run = Run(batch * length, length, recompute=bool(cfg.checkpoint_activations), accumulate=updates > 1)
    return state + peak_of(step)[0], predict(shape_of(model, cfg, arch), run)


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join([case[0], *case[1]]))
def test_the_peak_is_predicted(case):
    peak, predicted = measured(*case)
    assert predicted.peak == pytest.approx(peak, rel=0.1)


def test_with_accumulation_the_gradients_exist_during_the_forward_pass():
    peak, predicted = measured("char_lm_nano", [], 4, 64, 65, updates=2)
    assert predicted.peak == pytest.approx(peak, rel=0.1)


def test_the_peak_of_a_gpu_includes_what_precedes_a_reset(monkeypatch):
    """fairseq's trainer resets torch's statistics at the end of an update."""
    now, peak = 100, 0

    def reset():
        nonlocal peak
        peak = now

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: now)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    with Trace(gpu=True) as trace:
        peak = 700
        torch.cuda.reset_peak_memory_stats()
        peak = 150
    assert (trace.most, torch.cuda.reset_peak_memory_stats) == (600, reset)


def shape(arch="causal_lm_small", *options):
    return shape_of(*build(arch, None, options), arch)


@pytest.mark.parametrize(
    ("optimizer", "precision", "bytes_a_parameter"),
    [
        ("fused_adamw", "fp32", 16),
        ("fused_adamw", "mixed", 16),
        ("fused_adamw", "half", 20),
        ("adam", "memory_efficient", 12),
        ("sgd", "fp32", 8),
    ],
)
def test_bytes_a_parameter(optimizer, precision, bytes_a_parameter):
    model = shape()
    assert sum(state_bytes(model, Run(1024, 1024, optimizer, precision))) == bytes_a_parameter * model.parameters


def test_adafactor_and_8_bit_states_save_what_is_published():
    """Of 335 M parameters 8-bit Adam saves 6 bytes each without the embeddings, Adafactor 8 (two rows a matrix)."""
    large = shape("clap_roberta_large")
    adam, eight, factored = (
        sum(state_bytes(large, Run(512, 512, name))) for name in ("adam", "adamw_8bit", "adafactor")
    )
    assert (adam - eight) / large.in_layers == pytest.approx(6, rel=0.01)
    assert (adam - factored) / large.parameters == pytest.approx(8, rel=0.01)


def test_sharding_divides_the_state():
    alone, shared = (
        predict(shape("clap_roberta_large"), Run(512, 512, gpu=True, processes=8, shard=s)) for s in (False, True)
    )
    for part in ("weights", "gradients", "optimizer"):
        assert getattr(shared, part) == getattr(alone, part) / 8
    assert shared.peak < 0.6 * alone.peak


@pytest.mark.parametrize(
    ("changes", "gpu", "more"),
    [
        ({"attention_dropout": 0.1}, False, 4 * 64 * 3 * 4 * 4 * 16),  # three float32 (H, T, T) in each of 4 layers
        ({"attention_dropout": 0.1}, True, 0),  # the kernel computes them again
        ({"dropout": 0.1}, False, (2 * 4 + 1) * 64 * 256 * 4),  # float32 masks: two a layer, one of the embedding
        ({"dropout": 0.1}, True, (2 * 4 + 1) * 64 * 256),  # of one byte
        ({"activation_dropout": 0.1}, True, 4 * 64 * 1024),
        ({"rotary": True}, False, 4 * 64 * 256 * 4),
        ({"styled": 0.5}, False, 4 * 64 * 256 * 4),  # two vectors in half of the layers
    ],
)
def test_activations_that_an_option_of_the_model_adds(changes, gpu, more):
    """The model has 4 layers of 256 channels, 4 heads and 1,024 feed-forward channels; 4 sequences of 16 tokens."""
    none = dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    plain = dataclasses.replace(shape("causal_lm_tiny"), **none)
    changed = dataclasses.replace(plain, **changes)
    before, after = (predict(s, Run(64, 16, gpu=gpu)).activations for s in (plain, changed))
    assert after - before == pytest.approx(more, abs=1e-3)
