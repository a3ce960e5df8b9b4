"""The causal Multi-Style Adapter: identity at initialization, causality, labels, forced styles."""

import pytest
import torch
import toy

from plugins.modules import style_adapter
from plugins.modules.decoder import Decoder
from plugins.modules.soft_prompt import SoftPrompt
from plugins.modules.style_adapter import INFERENCES, StyleAdapter, _Modulate

WORDS, BLOCK, LAYERS, STYLES = 11, 24, 4, 3


def make(trained=True, layers=range(LAYERS), **options):
    torch.manual_seed(1)
    decoder = Decoder(WORDS, BLOCK, 16, 32, LAYERS, 4).eval()
    adapter = StyleAdapter(16, list(layers), STYLES, 8, 6, prefix=5, **options).eval()
    for parameter in [*decoder.parameters(), *(adapter.parameters() if trained else ())]:
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return decoder, adapter


def run(decoder, adapter, tokens, styles=None, labels=None, cache=None):
    style = adapter.begin(styles, labels, cache)
    with torch.no_grad():
        return decoder(tokens, cache, after_layer=style), style.logits


def draw(batch=2, length=BLOCK):
    return torch.randint(WORDS, (batch, length))


@pytest.mark.parametrize("inference", INFERENCES)
def test_an_untrained_adapter_leaves_logits_bitwise_unchanged(inference):
    decoder, adapter = make(trained=False, inference=inference)
    tokens = draw()
    features, _ = run(decoder, adapter, tokens, labels=torch.tensor([0, 2]))
    assert torch.equal(features, decoder(tokens))


@pytest.mark.parametrize("source", [0, 2])
@pytest.mark.parametrize("inference", INFERENCES)
def test_no_position_sees_a_later_one_bit_for_bit(inference, source):
    decoder, adapter = make(inference=inference, source=source, layers=range(source, LAYERS))
    tokens = draw()
    before, _ = run(decoder, adapter, tokens)
    for place in range(BLOCK):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % WORDS
        after, _ = run(decoder, adapter, changed)
        assert torch.equal(before[:, :place], after[:, :place])


@pytest.mark.parametrize("inference", INFERENCES)
def test_one_product_for_all_layers_gives_what_a_product_for_each_gives(monkeypatch, inference):
    decoder, adapter = make(inference=inference)
    tokens, labels = draw(), torch.tensor([0, 2])
    together, _ = run(decoder, adapter, tokens, labels=labels)
    monkeypatch.setattr(style_adapter, "MOST_SHARED", 0)
    torch.testing.assert_close(together, run(decoder, adapter, tokens, labels=labels)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("length, shared", [(1, True), (128, True), (129, False)])
def test_few_rows_without_gradients_and_autocast_share_a_product(length, shared):
    x = torch.zeros(2, length, 4)
    assert not style_adapter.few_rows(x)
    with torch.no_grad():
        assert style_adapter.few_rows(x) is shared
        with torch.autocast("cpu", torch.bfloat16):
            assert style_adapter.few_rows(x) is (length == 1)


@pytest.mark.parametrize("inference", INFERENCES)
@pytest.mark.parametrize("chunks", [[3, 1, 1, 1, 12, 6], [1] * BLOCK])
def test_the_cached_state_is_equivalent_to_the_text_it_replaces(inference, chunks):
    decoder, adapter = make(inference=inference)
    tokens, cache = draw(), decoder.new_cache(2)
    parts = [run(decoder, adapter, part, cache=cache)[0] for part in tokens.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), run(decoder, adapter, tokens)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("inference", ["prefix", "running_mean", "ema"])
@pytest.mark.parametrize("chunks", [[BLOCK - 3], [4, 1, 1, 15], [1] * (BLOCK - 3)])
def test_a_prompt_is_not_part_of_the_prefix_with_or_without_a_cache(inference, chunks):
    decoder, adapter = make(inference=inference)
    decoder.prompt = SoftPrompt(torch.randn(3, 16))
    tokens, cache = draw(length=BLOCK - 3), decoder.new_cache(2)
    parts = [run(decoder, adapter, part, cache=cache) for part in tokens.split(chunks, dim=1)]
    features, logits = run(decoder, adapter, tokens)
    torch.testing.assert_close(torch.cat([part for part, _ in parts], 1), features, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat([found for _, found in parts], 1), logits, atol=1e-5, rtol=0)
    assert logits.shape == (2, BLOCK - 3, STYLES) and cache.prompted == 3


def test_running_mean_of_one_two_and_three():
    _, adapter = make()
    h = torch.tensor([1.0, 3.0, 8.0])[None, :, None]
    assert adapter.summarize(h).flatten().tolist() == [1, 2, 4]


def test_moving_average_halves_the_weight_at_each_step():
    _, adapter = make(inference="ema", decay=0.5)
    h = torch.tensor([1.0, 4.0, 0.0])[None, :, None]
    expected = [1, (4 + 0.5) / 1.5, (0 + 2 + 0.25) / 1.75]
    assert adapter.summarize(h).flatten().tolist() == pytest.approx(expected)


def test_token_inference_uses_only_the_last_state():
    _, adapter = make(inference="token")
    h = torch.tensor([1.0, 4.0, 0.0])[None, :, None]
    assert torch.equal(adapter.summarize(h), h)


def test_prefix_inference_fixes_the_style_and_does_not_modulate_the_prefix():
    decoder, adapter = make(inference="prefix")
    h = torch.randn(2, BLOCK, 16)
    logits, weights = adapter.infer(h)
    assert weights[:, :5].abs().max() == 0
    torch.testing.assert_close(weights[:, 5:], logits[:, 4:5].softmax(-1).expand(-1, BLOCK - 5, -1))


def test_a_row_of_zeros_disables_the_style():
    decoder, adapter = make()
    tokens = draw()
    features, logits = run(decoder, adapter, tokens, styles=torch.zeros(2, STYLES))
    assert torch.equal(features, decoder(tokens))
    assert logits is None


def test_each_sequence_gets_the_style_that_is_forced_on_it():
    decoder, adapter = make()
    tokens = draw(1).expand(2, -1)
    both, _ = run(decoder, adapter, tokens, styles=torch.eye(STYLES)[:2])
    alone, _ = run(decoder, adapter, tokens[:1], styles=torch.eye(STYLES)[1:2])
    torch.testing.assert_close(both[1:], alone)
    assert not torch.allclose(both[0], both[1])


def test_given_labels_select_styles_and_minus_one_selects_none():
    decoder, adapter = make(inference="given")
    tokens = draw()
    by_label, _ = run(decoder, adapter, tokens, labels=torch.tensor([2, -1]))
    forced, _ = run(decoder, adapter, tokens, styles=torch.tensor([[0.0, 0, 1], [0, 0, 0]]))
    assert torch.equal(by_label, forced)


def test_labels_are_not_looked_at_outside_training():
    decoder, adapter = make()
    tokens = draw()
    assert torch.equal(run(decoder, adapter, tokens, labels=torch.tensor([0, 1]))[0], run(decoder, adapter, tokens)[0])


def test_training_mixes_absent_given_and_inferred_styles_in_their_shares():
    _, adapter = make(null_prob=0.2, true_prob=0.5)
    h, labels = torch.randn(4000, 2, 16), torch.ones(4000, dtype=torch.long)
    weights = adapter.train().begin(labels=labels).style_weights(h)[:, 0]
    absent = (weights.sum(-1) == 0).double().mean().item()
    given = (weights == torch.tensor([0.0, 1, 0])).all(-1).double().mean().item()
    assert absent == pytest.approx(0.2, abs=0.025)  # four standard errors
    assert given == pytest.approx(0.5, abs=0.032)


def test_an_unlabeled_sequence_stays_unlabeled():
    _, adapter = make(null_prob=0.0, true_prob=1.0)
    h = torch.randn(50, 2, 16)
    weights = adapter.train().begin(labels=torch.full((50,), -1)).style_weights(h)
    torch.testing.assert_close(weights, adapter.infer(h)[1])


def test_constant_has_no_classifier_and_equal_weights():
    _, adapter = make(inference="constant")
    assert adapter.classifier is None
    assert torch.equal(adapter.begin().style_weights(torch.randn(2, 5, 16)), torch.full((2, 1, STYLES), 1 / 3))


def test_gradients_of_the_modulation_equal_finite_differences():
    torch.manual_seed(0)
    inputs = [torch.randn(n, m, dtype=torch.double, requires_grad=True) for n, m in ((5, 3), (5, 4), (4, 6))]
    assert torch.autograd.gradcheck(_Modulate.apply, inputs)


def test_layers_before_the_source_cannot_be_modulated():
    with toy.refused("layer 2", [1, 2, 3], error=ValueError):
        StyleAdapter(16, [1, 2, 3], source=2)


def test_autocast_rounds_neither_the_residual_stream_nor_its_gradient():
    torch.manual_seed(0)
    x, weights, table = (torch.randn(n, m, requires_grad=True) for n, m in ((5, 3), (5, 4), (4, 6)))
    with torch.autocast("cpu", torch.bfloat16):
        out = _Modulate.apply(x, weights, 0 * table)
    out.backward(x.detach())
    assert torch.equal(out, x)
    assert torch.equal(x.grad, x)


def test_an_unknown_source_of_the_style_is_named():
    with toy.refused("'guess'", error=ValueError):
        StyleAdapter(16, [1], inference="guess")
    with toy.refused("[]", error=ValueError):
        StyleAdapter(16, [])


@pytest.mark.parametrize("inference", ["given", "constant"])
def test_a_style_that_is_not_inferred_is_left_out_in_training_but_not_replaced_by_labels(inference):
    _, adapter = make(inference=inference, null_prob=0.25, true_prob=0.75)
    labels = torch.full((4000,), 1)
    style = adapter.train().begin(labels=labels)
    weights = style.style_weights(torch.randn(4000, 2, 16))[:, 0]
    assert style.logits is None
    expected = torch.tensor([0.0, 1, 0]) if inference == "given" else torch.full((3,), 1 / 3)
    absent = (weights == 0).all(-1)
    assert ((weights == expected).all(-1) | absent).all()
    assert absent.double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_forced_styles_are_used_in_training_too():
    _, adapter = make(null_prob=1.0)
    forced = torch.tensor([[0.0, 0.5, 0.5]]).double()
    weights = adapter.train().begin(forced, torch.tensor([1])).style_weights(torch.randn(1, 4, 16))
    assert weights.tolist() == [[[0.0, 0.5, 0.5]]] and weights.dtype == torch.float32


def test_the_tables_are_computed_once_for_a_cache():
    decoder, adapter = make()
    cache = decoder.new_cache(2)
    first = adapter.table(cache)
    assert adapter.table(cache) is first and adapter.table() is not first
    assert first.shape == (STYLES, 2 * LAYERS * 16) and list(adapter.tables()) == [0, 1, 2, 3]
    torch.testing.assert_close(adapter.tables()[1], first[:, 32:64])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_summaries_are_in_float32(dtype):
    _, adapter = make()
    h = torch.full((1, 2000, 1), 1.0).to(dtype)
    found = adapter.summarize(h)
    assert found.dtype == torch.float32 and found[0, -1, 0] == 1


def test_only_the_modulated_layers_change():
    decoder, adapter = make(layers=[1, 3])
    x, style = torch.randn(2, 5, 16), adapter.begin(styles=torch.eye(STYLES)[:2])
    changed = [not torch.equal(style(layer, x), x) for layer in range(LAYERS)]
    assert changed == [False, True, False, True]


@pytest.mark.parametrize("past, frozen", [(0, [False] * 5 + [True] * 2), (3, [False, False] + [True] * 5)])
def test_a_style_is_fixed_after_the_prefix_also_in_a_later_chunk(past, frozen):
    decoder, adapter = make(inference="prefix")
    cache = decoder.new_cache(1)
    if past:
        adapter.infer(torch.randn(1, past, 16), cache)
        cache.length = past
    _, weights = adapter.infer(torch.randn(1, 7, 16), cache)
    assert (weights[0].sum(-1) > 0.5).tolist() == frozen
    cache.length = past + 7
    _, later = adapter.infer(torch.randn(1, 2, 16), cache)
    torch.testing.assert_close(later, weights[:, -1:].expand(-1, 2, -1))
