"""Self-attention with a bias and padding."""

import contextlib
import math

import pytest
import torch
import torch.nn.functional as F
import toy

from plugins.modules import scaled_dot_product
from plugins.modules.attention import SelectedTokens, SelfAttention, group_by_sequence, project
from plugins.modules.placement import MOST_SCORES, Placement, query_type
from plugins.modules.positions import Positions, Spec, build
from plugins.modules.scaled_dot_product import (
    MOST_WRITTEN,
    attend,
    attend_from_one,
    attend_placed,
    attention_weights,
    match_types,
    writes_scores,
)
from plugins.modules.scaling import Scaling

CPU = torch.device("cpu")
B, H, T, D = 3, 4, 11, 8


def reference(q, k, v, bias=None, padding=None):
    """Attention as textbooks write it, in float64, with -inf at padded keys."""
    q, k, v = q.double(), k.double(), v.double()
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.size(-1))
    if bias is not None:
        scores = scores + bias.double()
    if padding is not None:
        scores = scores.masked_fill(padding[:, None, None], -math.inf)
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v)


def place(length=T, biased=True, heads=H, **options):
    """Return the placement of an encoder's tokens, with ALiBi or without positions."""
    spec = Spec(8 * heads, heads, length)
    return Placement(build("alibi", spec) if biased else Positions(spec), slice(0, length), length, CPU, **options)


def inputs(length=T, dtype=torch.float32):
    q, k, v = torch.randn(3, B, H, length, D).to(dtype).unbind()
    padding = torch.zeros(B, length, dtype=torch.bool)
    padding[0, -4:] = padding[1, -1:] = True
    return [x.requires_grad_() for x in (q, k, v)], place(length).bias(), padding


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("p", [0.0, 1e-12])  # the second takes the path that is written out for dropout
def test_equals_the_textbook_in_float64(biased, padded, p):
    (q, k, v), bias, padding = inputs()
    bias, padding = bias if biased else None, padding if padded else None
    out = attend(q, k, v, bias, padding, p)
    assert out.shape == (B, H, T, D)
    torch.testing.assert_close(out.double(), reference(q, k, v, bias, padding), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("p", [0.0, 1e-12])
def test_gradients_equal_the_textbooks(p):
    (q, k, v), bias, padding = inputs()
    grad = torch.randn(B, H, T, D)
    ours = torch.autograd.grad(attend(q, k, v, bias, padding, p), (q, k, v), grad)
    theirs = torch.autograd.grad(reference(q, k, v, bias, padding), (q, k, v), grad.double())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=5e-6, rtol=1e-4)


def test_gradients_equal_torchs_own_attention_with_a_repeated_mask():
    (q, k, v), bias, padding = inputs()
    mask = bias.expand(B, -1, -1, -1).masked_fill(padding[:, None, None], -math.inf)
    ours = torch.autograd.grad(attend(q, k, v, bias, padding).square().sum(), (q, k, v))
    theirs = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, mask).square().sum(), (q, k, v))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=5e-6, rtol=1e-4)


@pytest.mark.parametrize("p", [0.0, 1e-12])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_padded_keys_have_no_effect(dtype, biased, p):
    (q, k, v), bias, padding = inputs(dtype=dtype)
    at_padding = padding[:, None, :, None]
    wild = [x.detach().masked_fill(at_padding, 50.0) for x in (k, v)]
    tame = [x.detach().masked_fill(at_padding, -1.0) for x in (k, v)]
    bias = bias if biased else None
    assert torch.equal(attend(q, *wild, bias, padding, p), attend(q, *tame, bias, padding, p))


def test_padded_keys_have_no_effect_even_if_all_other_keys_are_distant():
    (q, k, v), bias, padding = inputs(1024)
    padding[0] = torch.arange(1024) >= 1000
    padding[0, 1] = False
    wild, tame = v.detach().clone(), v.detach().clone()
    wild[padding[:, None, :, None].expand_as(v)] = 1e4
    assert torch.equal(
        attend(q, k, wild, bias, padding), attend(q, k, tame * ~padding[:, None, :, None], bias, padding)
    )


def test_the_bias_is_not_repeated_over_the_batch(monkeypatch):
    seen = []
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: seen.append(a[3].shape) or original(*a, **k))
    (q, k, v), bias, padding = inputs()
    attend(q, k, v, bias, padding)
    assert seen == [(1, H, T, T)]


def test_the_gradient_of_a_learned_bias_equals_that_of_explicit_attention():
    (q, k, v), bias, padding = inputs()
    bias = bias.clone().requires_grad_()
    double = bias.detach().double().requires_grad_()
    for p in (0.0, 1e-12):
        (ours,) = torch.autograd.grad(attend(q, k, v, bias, padding, p).square().sum(), bias)
        (theirs,) = torch.autograd.grad(reference(q, k, v, double, padding).square().sum(), double)
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("p", [0.0, 1e-12], ids=["evaluation", "training with dropout"])
def test_bfloat16_keeps_the_half_slope_shift_at_distance_200(p):
    """Query 200 scores 0 everywhere, so its weights 200 to the left and to the right differ by the shift alone."""
    q = torch.zeros(1, 1, 401, 8, dtype=torch.bfloat16)
    bias = place(401, heads=1).bias() * 256  # a slope of 1 (exactly)

    def weight(key):
        v = torch.zeros_like(q)
        v[0, 0, key] = 1
        return attend(q, q, v, bias * 2**-4, None, p)[0, 0, 200, 0].item()

    assert weight(400) / weight(0) == pytest.approx(1.0317, abs=0.012)  # exp(0.5 / 16)


def test_a_fully_padded_row_stays_finite():
    (q, k, v), bias, padding = inputs()
    padding[2] = True
    for given in (None, bias):
        assert attend(q, k, v, given, padding).isfinite().all()


def test_dropout_keeps_the_mean():
    attention = SelfAttention(16, 4, dropout=0.3).train()
    x = torch.randn(1, 6, 16)
    with torch.no_grad():
        mean = attention(x.expand(20_000, -1, -1), place(6, biased=False)).mean(0, keepdim=True)
        torch.testing.assert_close(mean, attention.eval()(x, place(6, biased=False)), atol=0.01, rtol=0)


def test_dropout_is_off_in_evaluation():
    attention = SelfAttention(16, 4, dropout=0.9).eval()
    x = torch.randn(2, 6, 16)
    assert torch.equal(attention(x, place(6)), attention(x, place(6)))


def test_equals_torchs_multi_head_attention_with_the_same_weights():
    ours = SelfAttention(32, 4).eval()
    theirs = torch.nn.MultiheadAttention(32, 4, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x, (_, bias, padding) = torch.randn(B, T, 32), inputs()
    mask = bias.expand(B, -1, -1, -1).masked_fill(padding[:, None, None], -math.inf).flatten(0, 1)
    torch.testing.assert_close(ours(x, place(), padding), theirs(x, x, x, attn_mask=mask)[0], atol=2e-6, rtol=1e-5)


def test_requested_rows_equal_those_of_the_full_output():
    attention, x, (_, _, padding) = SelfAttention(32, 4), torch.randn(B, T, 32), inputs()
    rows = torch.tensor([0, 5, T, 2 * T + 3])
    for given in (place(), place(biased=False)):
        everything = attention(x, given, padding).flatten(0, 1)
        torch.testing.assert_close(
            attention(x, given, padding, SelectedTokens.of(rows, None, B, given)), everything[rows]
        )


def test_heads_must_divide_the_width():
    with toy.refused(5, 32, error=ValueError):
        SelfAttention(32, 5)


def test_a_bfloat16_bias_keeps_the_half_position():
    q = torch.randn(1, 2, 4, 8, dtype=torch.bfloat16)
    bias = torch.tensor([-200.0, -199.5]).repeat(2, 4, 2)[None]
    *qkv, matched = match_types(q, q, q, bias)
    assert {t.dtype for t in (*qkv, matched)} == {torch.float32}
    assert torch.equal(matched, bias)


def test_kernels_that_want_one_type_get_half_precision_where_it_is_enough():
    q = torch.randn(1, 2, 4, 8, dtype=torch.float16)
    assert {t.dtype for t in match_types(q, q, q, torch.zeros(1, 2, 4, 4))} == {torch.float16}
    q = q.bfloat16()
    assert {t.dtype for t in match_types(q, q, q, q.new_zeros(1, 1, 1, 4))} == {torch.bfloat16}


@pytest.mark.parametrize("p", [0.0, 1e-12])
@pytest.mark.parametrize("biased, padded", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("length", [T, 300])  # all scores written, and the fused kernel
def test_bfloat16_attention_differs_from_the_textbook_by_rounding(biased, padded, length, p):
    (q, k, v), _, padding = inputs(length, torch.bfloat16)
    bias = place(length, dtype=torch.bfloat16).bias() if biased else None
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(q, k, v, bias, padding if padded else None, p, training=True)
    assert out.dtype == torch.bfloat16
    exact = reference(q, k, v, place(length).bias() if biased else None, padding if padded else None)
    grad = torch.randn_like(exact)
    theirs = torch.autograd.grad(exact, (q, k, v), grad)
    ours = torch.autograd.grad(out, (q, k, v), grad.bfloat16())
    for a, b in zip((out, *ours), (exact, *theirs), strict=True):
        assert (a.double() - b).norm() < 0.015 * b.double().norm()


@pytest.mark.parametrize("sequences, heads", [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_written_scores_add_a_bias_of_any_sequences_and_heads_and_leave_it_as_it_is(sequences, heads):
    q, k, v = (torch.randn(3, 2, 5, 8).bfloat16() for _ in range(3))
    bias = torch.randn(sequences, heads, 5, 5).bfloat16()
    before = bias.clone()
    out = attend(q, k, v, bias, None, training=True)
    exact = reference(q, k, v, bias, None)
    assert (out.double() - exact).norm() < 0.015 * exact.norm()
    assert torch.equal(bias, before)


def test_projections_in_one_product_equal_separate_ones_with_their_gradients():
    layers = [torch.nn.Linear(16, 16) for _ in range(3)]
    weights = [layer.weight for layer in layers] + [layer.bias for layer in layers]
    x = torch.randn(2, 5, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        together, separate = project(x, layers), [layer(x) for layer in layers]
    factors = torch.randn(3, 2, 5, 16)
    for ours, theirs in zip(together, separate, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0.01)
    found = [torch.autograd.grad((torch.stack(list(y)) * factors).sum(), [x, *weights]) for y in (together, separate)]
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_projections_with_hooks_and_of_other_classes_are_called():
    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    hooked, other = torch.nn.Linear(16, 16), Doubled(16, 16)
    hooked.register_forward_hook(lambda layer, given, out: out + 1)
    x = torch.randn(2, 5, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        for layer in (hooked, other):
            assert torch.equal(project(x, [layer, layer])[1], layer(x))


def test_autocast_on_a_cpu_keeps_a_float32_bias():
    q = torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16)
    v = torch.tensor([1.0, 0.0])[:, None].expand(1, 1, 2, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        out = attend(q, v.new_zeros(1, 1, 2, 8), v, torch.tensor([-200.0, -200.4])[None, None, None], None)
    assert out[0, 0, 0, 0].item() == pytest.approx(0.5987, abs=2e-3)  # bfloat16 rounds both to -200


def test_the_type_of_queries_is_autocasts():
    x, exact = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert (query_type(x), query_type(x.half()), query_type(exact)) == (torch.float32, torch.float16, torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert (query_type(x), query_type(x.half()), query_type(exact)) == (torch.bfloat16,) * 2 + (torch.float64,)


def test_scores_are_written_out_where_a_cpu_has_no_fast_kernel():
    def written(dtype, keys, p, device=CPU, training=True):
        return writes_scores(device, dtype, keys, p, training)

    assert written(torch.float32, 512, 0.1) and not written(torch.float32, 128, 0)
    assert written(torch.bfloat16, MOST_WRITTEN, 0) and not written(torch.bfloat16, MOST_WRITTEN + 1, 0)
    assert not written(torch.bfloat16, 128, 0, training=False)
    assert not written(torch.bfloat16, 128, 0.1, torch.device("cuda"))


def test_compiled_training_in_half_precision_on_a_cpu_writes_scores_of_few_keys(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert writes_scores(CPU, torch.bfloat16, 128, p=0.0, training=True)
    assert not writes_scores(CPU, torch.bfloat16, MOST_WRITTEN + 1, p=0.0, training=True)
    assert not writes_scores(CPU, torch.bfloat16, 128, p=0.0, training=False)


def test_rows_are_laid_out_by_sequence_and_filled_up():
    positions, taken = group_by_sequence(torch.tensor([0, 4, 10, 11, 13]), sequences=3, length=5)
    assert positions.tolist() == [[0, 4, 0], [0, 0, 0], [0, 1, 3]]
    assert taken.tolist() == [0, 1, 6, 7, 8]


def test_requesting_no_rows_gives_an_empty_output():
    attention, x = SelfAttention(16, 4), torch.randn(2, 5, 16)
    rows = SelectedTokens.of(torch.empty(0, dtype=torch.long), None, 2, place(5))
    assert attention(x, place(5), None, rows).shape == (0, 16)


# Recorded weights


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_weights_times_values_are_the_textbooks_attention(biased, padded):
    (q, k, v), bias, padding = inputs()
    bias, padding = bias if biased else None, padding if padded else None
    weights = attention_weights(q, k, bias, padding)
    torch.testing.assert_close((weights @ v).double(), reference(q, k, v, bias, padding), atol=2e-6, rtol=1e-5)


def test_a_layer_records_all_its_weights_for_any_requested_rows():
    attention, x, (_, _, padding) = SelfAttention(32, 4), torch.randn(B, T, 32), inputs()
    found = []
    attention.record = lambda layer, weights: found.append((layer, weights))
    everything = attention(x, place(), padding)
    some = attention(x, place(), padding, SelectedTokens.of(torch.tensor([3, T + 1]), 1, B, place()))
    assert [layer for layer, _ in found] == [attention] * 2
    torch.testing.assert_close(found[0][1], found[1][1])
    v = attention.split_heads(attention.v_proj(x))
    torch.testing.assert_close(attention.out_proj((found[0][1] @ v).transpose(1, 2).flatten(2)), everything)
    torch.testing.assert_close(some, everything.flatten(0, 1)[[3, T + 1]])
    assert not found[0][1].requires_grad


def test_recorded_weights_exclude_dropout():
    attention, x, found = SelfAttention(32, 4, dropout=0.9).train(), torch.randn(B, T, 32), []
    attention.record = lambda layer, weights: found.append(weights)
    attention(x, place())
    torch.testing.assert_close(found[0].sum(-1), torch.ones(B, H, T))


# Long inputs, in blocks of queries


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three queries of one sequence; the list gets the shape of each bias that is made."""
    made, build = [], Positions.bias
    monkeypatch.setitem(MOST_SCORES, "cpu", 3 * H * T)
    monkeypatch.setattr(Positions, "bias", lambda *a, **k: made.append(build(*a, **k)) or made[-1])
    return made


def run(attention, rows=None, biased=True, padded=True, **options):
    """Return a layer's output and the gradients of its input and parameters."""
    torch.manual_seed(3)
    x = torch.randn(B, T, 32, requires_grad=True)
    padding = inputs()[2] if padded else None
    spec = Spec(32, H, T, **options)
    placement = Placement(build("alibi", spec) if biased else Positions(spec), slice(0, T), T, CPU)
    out = attention(x, placement, padding, None if rows is None else SelectedTokens.of(rows, None, B, placement))
    torch.manual_seed(4)
    return out, torch.autograd.grad(out, [x, *attention.parameters()], torch.randn_like(out))


@pytest.mark.parametrize("rows", [None, [0, 5, T, 2 * T + 3, 2 * T + 4, 2 * T + 5, 2 * T + 6]])
@pytest.mark.parametrize("biased, padded", [(True, True), (True, False), (False, True)])
def test_blocks_of_queries_give_output_and_gradients_of_all_at_once(monkeypatch, biased, padded, rows):
    attention, rows = SelfAttention(32, H), None if rows is None else torch.tensor(rows)
    whole = run(attention, rows, biased, padded)
    monkeypatch.setitem(MOST_SCORES, "cpu", 3 * H * T)
    parts = run(attention, rows, biased, padded)
    torch.testing.assert_close(parts[0], whole[0], atol=2e-6, rtol=1e-5)
    for a, b in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_learned_bias_gets_its_gradient_through_blocks(monkeypatch):
    attention, x, found = SelfAttention(32, H), torch.randn(B, T, 32), []
    for most in (1 << 24, 3 * H * T):
        monkeypatch.setitem(MOST_SCORES, "cpu", most)
        scheme = build("alibi", Spec(32, H, T, alibi_bos="learned"))
        attention(x, Placement(scheme, slice(0, T), T, CPU)).square().sum().backward()
        found.append(scheme.bos_bias.grad)
    assert found[0].abs().min() > 0
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_no_bias_of_all_queries_is_made_for_a_long_input(small_blocks):
    run(SelfAttention(32, H), padded=False)
    assert {tuple(bias.shape) for bias in small_blocks} == {(1, H, 3, T), (1, H, 2, T)}


@pytest.mark.parametrize("seed", range(3))
def test_dropout_in_blocks_drops_the_same_weights_in_both_passes(small_blocks, seed):
    """With v = 1 a query's output is the sum of its kept weights, and the gradient of v adds up to the same."""
    torch.manual_seed(seed)
    attention = SelfAttention(32, H, dropout=0.5).train()
    q, k, v = torch.randn(2, B, H, T, 8).unbind() + (torch.ones(B, H, T, 8, requires_grad=True),)
    out = attention.attend(q, k, v, place())
    (grad,) = torch.autograd.grad(out.sum(), v)
    torch.testing.assert_close(grad.sum(), out.sum())
    assert len({round(value, 3) for value in out[..., 0].flatten().tolist()}) > T


# Causal ALiBi without a bias


def causal(heads, length, dtype, **options):
    """Return a decoder's placement with ALiBi, for heads of 64 channels."""
    scheme = build("alibi", Spec(64 * heads, heads, length, causal=True))
    return Placement(scheme, slice(0, length), length, CPU, dtype=dtype, **options)


@pytest.mark.parametrize("heads, tolerance", [(8, 1e-5), (12, 1e-4)])  # slopes of 8 heads are powers of two
@pytest.mark.parametrize("length", [300, 2000])
def test_channels_give_the_scores_of_the_bias(heads, tolerance, length):
    of_queries, of_keys = (c.double() for c in causal(heads, length, torch.bfloat16).channels)
    scores = of_queries @ of_keys.T / 8  # (H, S)
    bias = causal(heads, length, torch.float64).bias(explicit=True)[0, :, -1]  # of the last query
    torch.testing.assert_close(scores - scores[:, -1:], bias.double(), atol=0, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_causal_alibi_without_a_bias_is_the_textbooks(dtype):
    q, k, v = torch.randn(3, 2, 12, 700, 64).to(dtype).unbind()
    out = [attend_placed(q, k, v, causal(12, 700, dtype, explicit=e), None, 0.0, False) for e in (False, True)]
    exact = reference(q, k, v, causal(12, 700, torch.float32).bias())
    without, with_bias = ((x.double() - exact).norm() / exact.norm() for x in out)
    assert without < 0.004 and without < 1.1 * with_bias


def test_a_bias_is_built_if_extra_channels_cannot_represent_it():
    def channels(dtype=torch.bfloat16, where=slice(0, 9), keys=9, scheme="alibi", causal=True, **options):
        return Placement(build(scheme, Spec(32, H, 9, causal)), where, keys, CPU, dtype=dtype, **options).channels

    assert channels() is not None and channels(window=9) is not None
    assert channels(torch.float32) is None  # the bias is more precise
    assert channels(where=slice(5, 9)) is None and channels(where=slice(0, 1), keys=1) is None
    assert channels(window=8) is None and channels(explicit=True) is None
    assert channels(scheme="rotary") is None and channels(causal=False) is None


def test_scaled_positions_scale_the_channels():
    places = [Placement(build("alibi", Spec(32, H, 9, True, scaling=scaling)), slice(0, 9), 9, CPU, dtype=torch.half)
              for scaling in (Scaling(), Scaling("linear", 4.0))]  # fmt: skip
    torch.testing.assert_close(places[1].channels[0] * 4, places[0].channels[0])
    assert torch.equal(places[1].channels[1], places[0].channels[1])


@pytest.mark.parametrize("biased", [False, True])
def test_one_query_written_as_sums_attends_as_many_do(biased):
    q, k, v = torch.randn(B, H, 1, D), torch.randn(B, H, T, D), torch.randn(B, H, T, D)
    bias = torch.randn(B, H, 1, T) if biased else None
    torch.testing.assert_close(attend_from_one(q, k, v, bias), attend(q, k, v, bias, None), atol=1e-6, rtol=1e-5)
    assert attend_from_one(q.bfloat16(), k, v, bias).dtype == torch.bfloat16


@pytest.mark.parametrize("queries, count", [(None, 9), (slice(5, 9), 4), (torch.zeros(2, 3, dtype=torch.long), 6)])
def test_layers_share_one_bias_unless_it_is_trained_or_long(monkeypatch, queries, count):
    def place(most, **options):
        monkeypatch.setitem(MOST_SCORES, "cpu", most)
        scheme = build("alibi", Spec(32, H, 9, **options))
        return Placement(scheme, slice(0, 9), 9, CPU, queries=queries)

    for most, whole in ((H * count * 9, True), (H * count * 9 - 1, False)):
        placement = place(most)
        assert placement.whole is whole
        assert torch.equal(placement.bias(), place(1 << 24).bias())
    assert not place(1 << 24, alibi_bos="learned").whole


@pytest.mark.parametrize("device, matched", [("cpu", False), ("meta", True)])
def test_types_are_matched_where_kernels_need_one(monkeypatch, device, matched):
    """The CPU's kernel adds a float32 bias to scores of any type."""

    calls, original = [], scaled_dot_product.match_types
    monkeypatch.setattr(scaled_dot_product, "match_types", lambda *given: calls.append(1) or original(*given))
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: contextlib.nullcontext())  # meta has none
    q = torch.zeros(1, 2, 300, 8, dtype=torch.bfloat16, device=device)
    out = attend(q, q, q, torch.zeros(1, 2, 300, 300, device=device), None)
    assert out.shape == q.shape and out.dtype == torch.bfloat16 and bool(calls) == matched
