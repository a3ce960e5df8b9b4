"""Scaled positions, against the functions of Hugging Face's transformers."""

import math

import pytest
import torch
import toy

from plugins.modules.decoder import Decoder
from plugins.modules.positions import SCHEMES, Spec, build
from plugins.modules.scaling import Scaling, attention_factor, rotary_frequencies

CPU = torch.device("cpu")


def theirs(kind, width, factor, trained, length=None):
    """Return frequencies and attention factor of transformers' ``rope_utils``."""
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = transformers.LlamaConfig(
        hidden_size=width * 2, num_attention_heads=2, max_position_embeddings=trained,
        rope_parameters={
            "rope_type": kind, "rope_theta": 10_000.0, "factor": factor, "original_max_position_embeddings": trained
        },
    )  # fmt: skip
    return ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)


@pytest.mark.parametrize("width", [8, 64, 128])
@pytest.mark.parametrize("factor", [1.0, 4.0, 32.0])
@pytest.mark.parametrize("trained", [64, 128, 2048])
@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_frequencies_and_attention_factor_are_transformers(kind, width, factor, trained):
    scaling = Scaling(kind, factor, trained)
    frequencies, expected = theirs(kind, width, factor, trained)
    torch.testing.assert_close(rotary_frequencies(width, scaling=scaling).float(), frequencies, rtol=1e-5, atol=0)
    assert attention_factor(scaling) == pytest.approx(expected)


@pytest.mark.parametrize("factor", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("length", [50, 128, 129, 500, 5000])
def test_dynamic_frequencies_are_transformers(factor, length):
    found = rotary_frequencies(64, scaling=Scaling("dynamic", factor, 128), length=length)
    torch.testing.assert_close(found.float(), theirs("dynamic", 64, factor, 128, length)[0], rtol=1e-5, atol=0)


def test_ntk_is_dynamic_at_a_length_of_factor_times_the_trained_one():
    found = rotary_frequencies(64, scaling=Scaling("ntk", 8.0, 128))
    torch.testing.assert_close(found.float(), theirs("dynamic", 64, 1.0, 128, 1024)[0], rtol=1e-5, atol=0)


def test_ntk_keeps_the_highest_frequency_and_divides_the_lowest_by_the_factor():
    plain, scaled = rotary_frequencies(64), rotary_frequencies(64, scaling=Scaling("ntk", 8.0))
    assert scaled[0] == plain[0] == 1
    assert (plain[-1] / scaled[-1]).item() == pytest.approx(8.0)


def test_yarns_temperature():
    assert attention_factor(Scaling("yarn", math.e**10)) == pytest.approx(2.0)
    assert attention_factor(Scaling("ntk", 32.0)) == 1.0


# In models


def make(name, kind="none", factor=4.0, trained=16, causal=False):
    return build(name, Spec(16, 2, 16, causal=causal, scaling=Scaling(kind, factor, trained)))


def test_linear_scaling_moves_a_position_to_a_fraction_of_it():
    plain, scaled = make("rotary"), make("rotary", "linear")
    torch.testing.assert_close(scaled.angles(slice(40, 41), 41, CPU), plain.angles(slice(10, 11), 41, CPU))


def test_yarn_lengthens_queries_and_keys_by_its_temperature():
    scheme, x = make("rotary", "yarn", factor=math.e**5), torch.randn(1, 2, 9, 8)
    rotated = scheme.rotate(x, scheme.angles(slice(0, 9), 9, CPU))
    torch.testing.assert_close(rotated.norm(dim=-1), 1.5 * x.norm(dim=-1))


@pytest.mark.parametrize("name", ["rotary", "alibi"])
def test_dynamic_scaling_has_an_effect_only_beyond_the_trained_length(name):
    plain, scaled = make(name), make(name, "dynamic")
    for length, same in ((10, True), (16, True), (17, False), (40, False), (12, True)):
        for what in ("angles", "bias"):
            a, b = (getattr(s, what)(slice(0, length), length, CPU) for s in (plain, scaled))
            assert a is b is None or torch.equal(a, b) == same


@pytest.mark.parametrize("causal", [True, False])
def test_alibis_slopes_are_divided_by_the_factor(causal):
    plain, scaled = (make("alibi", kind, causal=causal).bias(slice(0, 9), 9, CPU) for kind in ("none", "linear"))
    torch.testing.assert_close(scaled, plain / 4)


def test_alibis_slopes_fall_with_the_length_of_the_input():
    """Al-Khateeb et al., 2023: slope times trained length over length."""
    plain, scaled = (make("alibi", kind, trained=16).bias(slice(0, 64), 64, CPU) for kind in ("none", "dynamic"))
    torch.testing.assert_close(scaled, plain / 4)


def test_rescaling_replaces_what_was_built_before():
    scheme = make("rotary")
    scheme.angles(slice(0, 9), 9, CPU)
    scheme.rescale(Scaling("yarn", 4.0, 16))
    assert torch.equal(scheme.angles(slice(0, 9), 9, CPU), make("rotary", "yarn").angles(slice(0, 9), 9, CPU))


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_refuse_kinds_that_they_do_not_support(name):
    supported = {"rotary": {"none", "linear", "ntk", "dynamic", "yarn"}}
    supported |= dict.fromkeys(["alibi", "alibi_symmetric"], {"none", "linear", "dynamic"})
    for kind in ("none", "linear", "ntk", "dynamic", "yarn"):
        if kind in supported.get(name, {"none"}):
            assert make(name, kind).scaling.kind == kind
        else:
            with toy.refused(f"'{kind}'", error=ValueError):
                make(name, kind)


@pytest.mark.parametrize("kind", ["linear", "ntk", "yarn"])
def test_a_cache_gives_the_features_of_one_pass(kind):
    torch.manual_seed(1)
    decoder = Decoder(11, 24, 16, 32, 2, 2, positions="rotary", scaling=Scaling(kind, 4.0, 24)).eval()
    tokens, cache = torch.randint(11, (2, 60)), decoder.new_cache(2)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split([20, 1, 39], dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens), atol=2e-5, rtol=0)


@pytest.mark.parametrize("options", [("cubic",), ("linear", 0.5), ("linear", math.inf), ("linear", 2.0, 0)])
def test_values_out_of_range_are_refused(options):
    with toy.refused(options[-1], error=ValueError):
        Scaling(*options)
