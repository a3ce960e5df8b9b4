"""The predicted memory is that of torch's allocator within 10 %, for every kind of model and option."""

import dataclasses
import functools

import pytest
import torch

from plugins.planning import memory
from plugins.planning.memory import Run, predict, state_bytes
from plugins.planning.models import Shape, build, shape_of
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
MIXED = [  # with attention scores in memory
    ("clap_roberta_tiny", PLAIN, 4, 256, 2000),
    ("clap_roberta_tiny", PLAIN, 2, 512, 2000),
    ("clap_roberta_tiny", ["--positions", "alibi", *PLAIN], 4, 256, 2000),
    ("clap_roberta_tiny", [], 8, 64, 2000),
    ("causal_lm_tiny", PLAIN, 4, 256, 3000),
]


def measured(arch, options, batch, length, words, updates=1, precision="fp32"):
    """The peak bytes of an update after the first, and what is predicted."""
    torch.manual_seed(0)
    model, cfg = build(arch, words, options, length, fake=False)
    loss = loss_of(model.train(), cfg, batch, length)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step():
        optimizer.zero_grad()
        for _ in range(updates):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed"):
                result = loss()
            result.backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    state = bytes_of([*model.parameters(), *(v for kept in optimizer.state.values() for v in kept.values())])
    recompute = bool(cfg.checkpoint_activations)
    run = Run(batch * length, length, precision=precision, recompute=recompute, accumulate=updates > 1)
    return state + peak_of(step)[0], predict(shape_of(model, cfg, arch), run)


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join([case[0], *case[1]]))
def test_the_peak_is_predicted(case):
    peak, predicted = measured(*case)
    assert predicted.peak == pytest.approx(peak, rel=0.1)


@pytest.mark.parametrize("case", MIXED, ids=lambda case: " ".join([case[0], *case[1]]))
def test_the_peak_under_autocast_is_predicted(case):
    peak, predicted = measured(*case, precision="mixed")
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


@functools.cache
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


TOY = Shape(
    arch="toy", parameters=1000, trained=1000, in_layers=600, largest=100, factored=50, layers=2, width=10, heads=2,
    inner=40, words=30, predicted=0.5, causal=False, rotary=False, dropout=0.1, attention_dropout=0.1,
    activation_dropout=0.0, clap=False, styled=0.0,
)  # fmt: skip
SIXTEEN = Run(16, 8)  # two sequences of eight tokens


def test_bytes_of_a_small_masked_lm_by_hand():
    """A layer: 16 (640 + 80 of masks + 192 of scores). The last: 16 (120 + .7 (120 + 192)) + 8 (120 + 320 + 80)."""
    layer, last, start, end, loss = memory.stored(TOY, SIXTEEN)
    assert layer == 16 * (80 + 80 + 160 + 320 + 80 + 192) and last == pytest.approx(16 * (120 + 0.7 * 312) + 8 * 520)
    assert start == 16 * 40 + 16 * 40 * 2 and end == 0  # a mask; two vectors
    assert loss == 4 * 8 * 30 + 4 * 4 * 8 * 10
    assert memory.stored(dataclasses.replace(TOY, clap=True), SIXTEEN)[2] == 16 * 40 + 16 * 40 * 3
    assert memory.stored(dataclasses.replace(TOY, dropout=0.0), SIXTEEN)[2] == 16 * 40 * 2


@pytest.mark.parametrize(
    ("changes", "options", "layer"),
    [
        ({}, {"precision": "mixed"}, 80 + 40 + 80 + 160 + 80 + 96),
        ({}, {"precision": "half"}, 40 + 40 + 80 + 160 + 40 + 96),
        ({}, {"gpu": True}, 640 + 20), ({"activation_dropout": 0.1}, {}, 912 + 160), ({"rotary": True}, {}, 912 + 40),
        ({"trained": 499}, {}, 912 - 200), ({"trained": 500}, {}, 912), ({"styled": 0.5}, {}, 912 + 40),
        ({"attention_dropout": 0.0}, {}, 720),
        ({"attention_dropout": 0.0}, {"precision": "mixed"}, 80 + 40 + 80 + 160 + 80 + 32),
        ({"attention_dropout": 0.0}, {"precision": "mixed", "length": memory.MOST_WRITTEN + 1}, 440),
    ],
)  # fmt: skip
def test_bytes_of_a_token_in_a_layer(changes, options, layer):
    found = memory.stored(dataclasses.replace(TOY, **changes), Run(**{"tokens": 16, "length": 8} | options))
    assert found[0] == pytest.approx(16 * layer)


def test_a_decoder_keeps_the_input_and_output_of_its_last_norm():
    layer, last, start, end, _ = memory.stored(dataclasses.replace(TOY, causal=True), SIXTEEN)
    assert layer == last and start == 16 * 40 and end == 16 * 80


def test_bytes_of_the_loss_by_hand(monkeypatch):
    """30 words of 10 channels; chunks of at most 20 predictions."""
    monkeypatch.setattr(memory, "ROWS", 20)
    assert memory.loss_bytes(TOY, 10, 4) == 4 * 10 * 30 + 16 * 100
    assert memory.loss_bytes(TOY, 25, 4) == 4 * 20 * 30 + 16 * 250
    assert memory.loss_bytes(TOY, 10, 2) == 4 * 300 + 2 * 300 + 1600
    assert memory.loss_bytes(TOY, 25, 2) == 4 * 600 + 2 * 600 + 2 * 300 + 4000
    monkeypatch.setattr(memory, "NUMBERS", 5 * 30 + 29)
    assert memory.loss_bytes(TOY, 8, 4) == 4 * 5 * 30 + 16 * 80


def test_bytes_of_states_inputs_and_buffers_by_hand():
    assert state_bytes(TOY, Run(16, 8, "adamw_8bit")) == (4000, 4000, 600 * (2 + 8 / 256) + 8 * 400)
    assert state_bytes(TOY, Run(16, 8, "adafactor")) == (4000, 4000, 200)
    assert state_bytes(dataclasses.replace(TOY, trained=100), Run(16, 8, "adamw_8bit"))[1:] == (
        400,
        600 * (2 + 8 / 256),
    )
    for precision, inputs, passing, extra in (
        ("fp32", 640, 3200, 0), ("mixed", 640, 1600, 1200), ("half", 320, 1600, 0), ("memory_efficient", 320, 1600, 0),
    ):  # fmt: skip
        run = Run(16, 8, precision=precision)
        assert (memory.inputs_of_layer(TOY, run), memory.passing(TOY, run), memory.buffers(TOY, run)) == (
            inputs, passing, extra,
        )  # fmt: skip
    four = Run(16, 8, precision="mixed", processes=4)
    assert memory.buffers(TOY, four) == 1200 + 4000
    assert memory.buffers(TOY, dataclasses.replace(four, shard=True)) == 300 + 2 * 4 * (400 + 600)


@pytest.mark.parametrize(
    ("optimizer", "peak"),
    [("adam", 4000 + 8000 + 4000 + 2 * 3600), ("adafactor", 4000 + 200 + 4000 + 3 * 3600),
     ("fused_adamw", 12_000 + 5600), ("sgd", 4000 + 5600)],
)  # fmt: skip
def test_the_peak_of_a_single_token_is_that_of_the_state(optimizer, peak):
    """The gradients, 4,000 bytes, and copies of the largest tensor; or the two gradients of the table, 1,600 bytes."""
    one = dataclasses.replace(TOY, largest=900, dropout=0.0, attention_dropout=0.0)
    assert predict(one, Run(1, 1, optimizer)).peak == pytest.approx(peak)


def test_moments_of_an_update_by_hand():
    """No dropout, so a layer keeps 16 x 640 bytes, and the last one 16 (120 + .7 x 120) + 8 x 440."""
    plain = dataclasses.replace(TOY, dropout=0.0, attention_dropout=0.0)
    layer, last = 16 * 640, 16 * (120 + 84) + 8 * 440
    kept, loss, table = 1280 + layer + last, 4 * 8 * 30 + 1280, 1600
    found = predict(plain, SIXTEEN)
    assert found.activations == pytest.approx(kept + table + 4 * 8 * 10)
    first = table + 1200 / 3 + kept + 3200  # in the backward pass of the last layer, a third of its gradients exist
    assert found.peak == pytest.approx(12_000 + max(kept + loss + table, first))
    more = predict(plain, dataclasses.replace(SIXTEEN, accumulate=True))
    assert more.activations == pytest.approx(found.activations + 4000)
    assert more.peak == pytest.approx(12_000 + max(4000 + kept + loss + table, 4000 + kept + 3200))
    less = predict(plain, dataclasses.replace(SIXTEEN, recompute=True))
    inputs = 1280 + 2 * 640
    assert less.activations == pytest.approx(inputs + table + 320)
    assert less.peak == pytest.approx(
        12_000 + max(table + 400 + inputs + (layer - 640) + 3200, table + 1600 + 1280 + 640 + layer - 640 + 3200)
    )
