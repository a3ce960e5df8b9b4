"""Positional schemes: each at any length, and schemes that a user defines."""

import copy

import pytest
import torch
import toy

from plugins.modules.decoder import Decoder
from plugins.modules.offset_bias import SHORT
from plugins.modules.placement import Placement
from plugins.modules.positions import DECODER_SCHEMES, SCHEMES, Positions, Spec, build
from plugins.modules.scaled_dot_product import attention_weights

CPU = torch.device("cpu")
WIDTH, HEADS, PAD = 16, 2, 1


def make(name, causal=False, **options):
    torch.manual_seed(1)
    return build(name, Spec(WIDTH, HEADS, 64, causal=causal, padding_row=None if causal else PAD, **options))


def make_decoder(name, block=24, **options):
    torch.manual_seed(1)
    decoder = Decoder(11, block, WIDTH, 32, 3, HEADS, positions=name, **options)
    for parameter in decoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return decoder.eval()


# Every scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_the_state_dict_contains_only_parameters(name):
    expected = {"learned": ["weight"]}.get(name, [])
    assert list(make(name).state_dict()) == expected


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "learned"])
@pytest.mark.parametrize("first, then", [(3, 9), (9, 3), (SHORT + 50, 5), (5, SHORT + 50)])
def test_the_cached_scaling_of_one_length_does_not_affect_another(name, first, then):
    used, fresh = make(name), make(name)
    results = []
    for scheme, lengths in ((used, (first, then)), (fresh, (then,))):
        for length in lengths:
            placement = Placement(scheme, slice(0, length), length, CPU)
            q = torch.ones(1, HEADS, length, WIDTH // HEADS)
            x = scheme.embed(torch.ones(1, length, WIDTH), torch.arange(length)[None], length)
            found = (x, placement.rotate(q, q)[0], placement.bias())
        results.append(found)
    for a, b in zip(*results, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", ["sinusoidal", "alibi", "alibi_symmetric", "rotary"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casting_a_model_keeps_its_tables_in_float32(name, dtype):
    scheme = make(name)
    before = (scheme.angles(slice(0, 50), 50, CPU), scheme.bias(slice(0, 50), 50, CPU))
    scheme = scheme.to(dtype)
    after = (scheme.angles(slice(0, 50), 50, CPU), scheme.bias(slice(0, 50), 50, CPU))
    for a, b in zip(before, after, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", ["sinusoidal", "alibi", "alibi_symmetric", "rotary"])
def test_tables_follow_the_device(name):
    scheme, meta = make(name), torch.device("meta")
    for device in (CPU, meta, CPU):
        for length in (50, SHORT + 1):
            found = [scheme.angles(slice(0, length), length, device), scheme.bias(slice(0, length), length, device)]
            found.append(scheme.embed(torch.ones(1, length, WIDTH, device=device), slice(0, length), length))
            assert all(t.device == device for t in found if t is not None)


@pytest.mark.parametrize("name", DECODER_SCHEMES)
def test_tables_first_built_in_inference_mode_can_be_trained_with(name):
    decoder, tokens = make_decoder(name), torch.randint(11, (2, 9))
    with torch.inference_mode():
        decoder(tokens)
    decoder.train()(tokens).square().sum().backward()
    assert decoder.wte.weight.grad is not None


@pytest.mark.parametrize("name", DECODER_SCHEMES)
def test_a_used_model_can_be_copied(name):
    decoder, tokens = make_decoder(name), torch.randint(11, (2, 9))
    before = decoder(tokens)
    twin = copy.deepcopy(decoder)
    for parameter in decoder.parameters():
        parameter.data.zero_()
    assert torch.equal(twin(tokens), before)


@pytest.mark.parametrize("name", ["sinusoidal", "alibi", "rotary"])
def test_a_decoder_without_a_position_table_accepts_more_than_its_block(name):
    decoder, tokens = make_decoder(name), torch.randint(11, (1, 90))
    cache = decoder.new_cache(1)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split([30, 1, 50, 9], dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens), atol=2e-5, rtol=0)


def test_a_learned_table_bounds_the_input():
    with toy.refused(25, 24, error=ValueError):
        make_decoder("learned")(torch.zeros(1, 25, dtype=torch.long))


def test_an_unknown_scheme_is_refused_by_name():
    with toy.refused("'absolute'", error=ValueError):
        make("absolute")


# A user-defined scheme


class NearestOnly(Positions):
    """Scores fall by 100 with each position: every token attends to itself."""

    def score(self, offset):
        return -100 * offset.abs()[None]


@pytest.mark.parametrize("causal", [True, False])
def test_a_new_scheme_is_a_class_and_a_line_in_the_table(monkeypatch, causal):
    monkeypatch.setitem(SCHEMES, "nearest", NearestOnly)
    placement = Placement(make("nearest", causal), slice(0, 5), 5, CPU)
    q = k = torch.randn(1, HEADS, 5, 8)
    torch.testing.assert_close(attention_weights(q, k, placement.bias()), torch.eye(5).expand(1, HEADS, -1, -1))


def test_a_new_scheme_serves_a_decoder_with_a_cache(monkeypatch):
    monkeypatch.setitem(SCHEMES, "nearest", NearestOnly)
    decoder, tokens = make_decoder("nearest"), torch.randint(11, (2, 12))
    cache = decoder.new_cache(2)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split([5, 1, 6], dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens), atol=1e-5, rtol=0)


class Learned(Positions):
    """The scores are a learned multiple of the offset."""

    learned_score = True

    def __init__(self, spec):
        super().__init__(spec)
        self.slope = torch.nn.Parameter(torch.ones(spec.heads, 1))

    def score(self, offset):
        return self.slope * offset


def test_a_score_of_parameters_changes_with_them_and_is_differentiated():
    scheme = Learned(Spec(WIDTH, HEADS, 64))
    with torch.no_grad():
        assert scheme.bias(slice(0, 3), 3, CPU)[0, 0, 0].tolist() == [0, 1, 2]
    for _ in range(2):
        scheme.bias(slice(0, 3), 3, CPU)[0, :, 0].sum().backward()
    assert scheme.slope.grad.tolist() == [[6.0], [6.0]]  # twice 0 + 1 + 2
    with torch.no_grad():
        scheme.slope.fill_(3.0)
        assert scheme.bias(slice(0, 3), 3, CPU)[0, 0, 0].tolist() == [0, 3, 6]


def test_a_score_of_parameters_that_would_be_kept_is_refused(monkeypatch):
    monkeypatch.setattr(Learned, "learned_score", False)
    scheme = Learned(Spec(WIDTH, HEADS, 64))
    with torch.no_grad(), toy.refused("learned_score", error=ValueError):
        scheme.bias(slice(0, 3), 3, CPU)


@pytest.mark.parametrize("name", ["learned", "sinusoidal"])
@pytest.mark.parametrize("padding_row, first", [(None, 0), (0, 1), (1, 2)])
def test_the_first_position_has_the_row_after_that_of_padding(name, padding_row, first):
    scheme = build(name, Spec(WIDTH, HEADS, 8, causal=padding_row is None, padding_row=padding_row))
    assert scheme.first_row == first
    where = torch.arange(8)[None]
    found = scheme.embed(torch.zeros(1, 8, WIDTH), where, 8)
    assert torch.equal(found, scheme.embed(torch.zeros(1, 8, WIDTH), slice(0, 8), 8).expand(1, -1, -1))
    if name == "learned":
        assert torch.equal(found[0], scheme.weight[first:]) and len(scheme.weight) == 8 + first
