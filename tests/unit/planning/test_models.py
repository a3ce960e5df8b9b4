"""Sizes of registered architectures, counted by hand."""

from dataclasses import asdict

import pytest
import toy

from plugins.planning import models
from plugins.planning.models import build, shape_of

NANO = dict(  # 12 C^2 weights in each layer; 65 words and 64 positions; 9 vectors
    arch="char_lm_nano", parameters=4 * 12 * 128**2 + (65 + 64 + 9) * 128, trained=804_096, in_layers=786_432,
    largest=4 * 128**2, factored=4 * (384 + 128 + 128 + 128 + 512 + 128 + 128 + 512) + 65 + 64 + 2 * 128 + 9 * 128,
    layers=4, width=128, heads=4, inner=512, words=65, predicted=1.0, causal=True, rotary=False, dropout=0.0,
    attention_dropout=0.0, activation_dropout=0.0, clap=False, styled=0.0,
)  # fmt: skip


def shape(arch, words=None, *options):
    return shape_of(*build(arch, words, options, 64), arch)


def test_a_character_lm():
    assert asdict(shape("char_lm_nano")) == NANO


@pytest.mark.parametrize(
    ("arch", "options", "expected"),
    [
        ("clap_roberta_tiny", [], dict(predicted=0.15, causal=False, clap=True, rotary=False, dropout=0.1)),
        ("clap_roberta_tiny", ["--head", "roberta", "--positions", "rotary"], dict(clap=False, rotary=True)),
        ("clap_roberta_tiny", ["--activation-dropout", "0.3", "--attention-dropout", "0.2"],
         dict(activation_dropout=0.3, attention_dropout=0.2)),
        ("clap_roberta_tiny", ["--encoder-ffn-embed-dim", "256", "--encoder-attention-heads", "2"],
         dict(inner=256, heads=2, in_layers=4 * (4 * 128**2 + 2 * 128 * 256))),
        ("style_char_lm_nano", [], dict(styled=1.0)),
    ],
)  # fmt: skip
def test_options_of_the_model(arch, options, expected):
    found = asdict(shape(arch, 500, *options))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("arch", "words"), [("clap_roberta_tiny", 50_265), ("causal_lm_tiny", 50_257)])
def test_the_vocabulary_is_that_of_the_usual_tokenizer_or_the_given_one(arch, words):
    assert shape(arch).words == words
    assert shape(arch, 300).words == 300
    small, usual = shape(arch, 300), shape(arch)
    assert usual.parameters - small.parameters == (words - 300) * usual.width  # tied, and the heads have no bias


def test_models_have_no_data_unless_asked_for():
    fake, real = (next(build("char_lm_nano", fake=fake)[0].parameters()) for fake in (True, False))
    assert "Fake" in type(fake).__name__ and "Fake" not in type(real).__name__
    assert fake.shape == real.shape


def test_a_model_whose_parameters_are_mostly_frozen():
    model, cfg = build("char_lm_nano", fake=False)
    for p in model.parameters():
        p.requires_grad_(p.ndim == 1)
    found = shape_of(model, cfg)
    assert (found.trained, found.factored, found.parameters) == (9 * 128, 9 * 128, 804_096)
    assert found.frozen and not shape("char_lm_nano").frozen


def test_a_value_that_is_no_number_is_refused():
    with toy.refused("--dropout"):
        build("char_lm_nano", None, ["--dropout", "x"])
    with toy.refused("--arch", "char_lm_nano", "clap_roberta_tiny"):
        build("transformer")


def test_the_task_of_a_model_without_data():
    masked = models.stub("clap_roberta", 50, 7)
    assert (
        len(masked.source_dictionary) == 50 and masked.source_dictionary[49] == "<mask>" and masked.max_positions() == 7
    )
    assert masked.cfg.mask_prob == 0.15 and masked.style_names == []
    assert len(models.stub("causal_lm", 50, 7).source_dictionary) == 50


def test_options_that_are_not_given_are_those_of_the_architecture():
    namespace = models.parse(models.ARCH_MODEL_REGISTRY["char_lm_nano"], "char_lm_nano", ["--dropout", "0.25"])
    assert (namespace.dropout, namespace.decoder_layers) == (0.25, 4) and namespace.activation_fn is None
