"""Compiled steps of generation, against the model's own steps."""

import logging

import pytest
import torch

from plugins.modules import decoding, direct
from plugins.modules.constraints import Constraints
from plugins.modules.decoder import Decoder
from plugins.modules.decoding import Stepper
from plugins.modules.generation import Search, generate
from plugins.modules.int8 import Int8Linear, quantize
from plugins.modules.linear import DecodingLinear
from plugins.modules.positions import DECODER_SCHEMES as POSITIONS
from plugins.modules.sampling import Race
from plugins.modules.style_adapter import StyleAdapter

WORDS, BLOCK, STYLES = 11, 40, 3


class LM(torch.nn.Module):
    """A decoder with random weights, optionally with a style adapter."""

    def __init__(self, positions="learned", inference=None, **options):
        super().__init__()
        torch.manual_seed(1)
        self.transformer = Decoder(WORDS, BLOCK, 16, 32, 2, 2, positions=positions, **options)
        self.lm_head = DecodingLinear(16, WORDS, bias=False)
        self.style = None if inference is None else StyleAdapter(16, [0, 1], STYLES, 8, 8, inference=inference)
        for parameter in self.parameters():
            parameter.data.add_(0.5 * torch.randn_like(parameter))
        self.eval()

    @property
    def decoder(self):
        return self

    def new_cache(self, batch, window=None):
        return self.transformer.new_cache(batch, window)

    def extract_features(self, tokens, cache=None, styles=None):
        after = None if self.style is None else self.style.begin(styles, None, cache)
        return self.transformer(tokens, cache, after_layer=after), {}

    def output_layer(self, features):
        return self.lm_head(features)


@pytest.fixture
def traced(monkeypatch):
    """Trace steps as always, but run their operations one by one, since a C++ compiler takes seconds for each."""
    monkeypatch.setattr(direct, "compile_graph", lambda graph, inputs, options: graph.forward)


@torch.inference_mode()
def logits_of(model, compiled, lengths=(3, 3), steps=12, **inputs):
    """Return the logits of each of some steps, and whether they were compiled, after prompts of these lengths."""
    draw = torch.Generator().manual_seed(5)
    cache, stepper = model.new_cache(len(lengths)), Stepper(model)
    stepper.prepare(cache, len(lengths), steps, compiled)
    stepper.next_logits(torch.randint(WORDS, (len(lengths), max(lengths)), generator=draw), cache, **inputs)
    cache.set_lengths(torch.tensor(lengths))
    tokens = torch.randint(WORDS, (steps, len(lengths), 1), generator=draw)
    return torch.stack([stepper.next_logits(step, cache, **inputs) for step in tokens]), cache.rows > 0


def check(model, tolerance=1e-5, **given):
    expected, _ = logits_of(model, False, **given)
    found, compiled = logits_of(model, True, **given)
    assert compiled
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("positions, lengths", [*((name, (1, 4, 2)) for name in POSITIONS), ("alibi", (3, 3))])
def test_compiled_steps_equal_the_models(traced, positions, lengths):
    check(LM(positions), lengths=lengths)


@pytest.mark.parametrize("inference, given", [("running_mean", True), ("running_mean", False), ("ema", False)])
def test_compiled_steps_infer_styles_or_take_them(traced, inference, given):
    check(LM(inference=inference), **({"styles": torch.tensor([[0.7, 0.3, 0], [0, 0, 0]])} if given else {}))


@pytest.mark.parametrize("positions, inference", [
    ("learned", None), ("alibi", None), ("rotary", None), ("sinusoidal", "running_mean"),
])  # fmt: skip
def test_a_graph_serves_texts_of_all_lengths(traced, positions, inference):
    torch._dynamo.utils.counters.clear()
    check(LM(positions, inference), 1e-4, lengths=(2,), steps=BLOCK - 2)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_a_prompt_in_the_memory_of_a_cache_needs_no_guards(traced, monkeypatch):
    model, calls = LM(inference="running_mean"), []
    guarded = direct.DirectGraph.__call__
    monkeypatch.setattr(direct.DirectGraph, "__call__", lambda *given: calls.append(1) or guarded(*given))
    stepper, cache, own = Stepper(model), model.new_cache(2), model.new_cache(2)
    stepper.prepare(cache, 2, 12, True)
    for length in (3, 5, 2):
        cache.reset(), own.reset()
        for tokens in torch.randint(WORDS, (2, length + 2)).split([length, 1, 1], dim=1):
            expected = model.output_layer(model.extract_features(tokens, cache=own)[0][:, -1])
            torch.testing.assert_close(stepper.next_logits(tokens, cache), expected, atol=1e-5, rtol=1e-5)
    assert len(calls) == 1


@pytest.mark.parametrize("inference", [None, "running_mean"])
@torch.inference_mode()
def test_a_compiled_step_draws_from_its_logits(traced, inference):
    model = LM(inference=inference)
    stepper, cache = Stepper(model), model.new_cache(2)
    cache.race, expected = (Race(0.7, torch.Generator().manual_seed(1)) for _ in range(2))
    stepper.prepare(cache, 2, 6, True)
    token = torch.tensor([[1], [2]])
    for step in range(6):
        logits = stepper.next_logits(token, cache)
        assert (cache.race.result is not None) == (step > 0)
        token = cache.race(logits)
        assert torch.equal(token, expected(logits))


def test_int8_weights_are_used_by_both_kinds_of_steps(traced):
    model = LM()
    quantize(model)
    assert isinstance(model.lm_head, Int8Linear) and isinstance(model.transformer.h[1].mlp.c_fc, Int8Linear)
    check(model)


@pytest.mark.parametrize("limit, policy, threads", [
    (0, "ACTIVE", None), (1 << 20, "ACTIVE", 1), (0, "passive ", 1), (1 << 20, "passive", 1)
])  # fmt: skip
def test_a_step_with_few_weights_is_compiled_for_one_thread(monkeypatch, limit, policy, threads):
    seen = []
    monkeypatch.setattr(direct, "compile_graph", lambda graph, inputs, options: seen.append(options) or graph.forward)
    monkeypatch.setattr(decoding, "ONE_THREAD", limit)
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    logits_of(LM(), True)
    assert [options.get("cpp.threads") for options in seen] == [threads]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_inductors_steps_equal_the_models(dtype):
    model = LM("rotary", "running_mean")
    quantize(model) if dtype is torch.int8 else model.to(dtype)
    check(model, tolerance=0.1 if dtype is torch.bfloat16 else 1e-4)


@pytest.mark.parametrize("search", [Search(), Search(temperature=1.0), Search(beam=2)], ids=["greedy", "drawn", "beam"])
def test_texts_that_end_at_different_times_are_the_same(traced, search):
    model, prompts = LM(), [torch.randint(1, WORDS, (length,)) for length in (2, 5, 3, 3)]
    rules = Constraints(8, max_length=12)
    expected = generate(model, prompts, rules, search)
    stepper = Stepper(model)
    assert generate(stepper, prompts, rules, search, compiled=True) == expected
    assert len(set(map(len, expected))) > 1 and not stepper.failed


def test_steps_are_compiled_once_their_number_repays_it():
    stepper = Stepper(LM())
    caches = [stepper.model.new_cache(1) for _ in range(3)]
    for cache, steps in zip(caches, (decoding.REPAID - 1, 1, 1), strict=True):
        stepper.prepare(cache, 1, steps)
    assert [cache.rows for cache in caches] == [0, 1, 1]


@pytest.mark.parametrize("rows, window, options", [
    (1, 8, {"positions": "alibi"}), (decoding.MOST_ROWS + 1, None, {}), (1, None, {"inference": "prefix"}),
], ids=["sliding", "many rows", "prefix"])  # fmt: skip
def test_other_steps_are_not_compiled(rows, window, options):
    model = LM(**options)
    cache = model.new_cache(rows, window)
    Stepper(model).prepare(cache, rows, 9, compiled=True)
    assert cache.rows == 0


def test_without_a_compiler_one_line_is_logged_and_the_model_is_called(monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("No working C++ compiler found\nin 9 places")

    monkeypatch.setattr(direct, "compile_graph", fail)
    model = LM()
    expected, _ = logits_of(model, False)
    with caplog.at_level(logging.WARNING):
        found, compiled = logits_of(model, True)
    assert torch.equal(found, expected) and not compiled
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
