"""LoRA and its variants: their scales, their dropout, and the layers that they wrap."""

import sys
from types import SimpleNamespace

import pytest
import torch
import toy
from peft_models import build, make_base, tokens_for

from plugins.peft import tune
from plugins.peft.lora import adapters, library_config


def tuned(tmp_path, name="causal_lm", **options):
    pytest.importorskip("peft")
    path = make_base(tmp_path, name)
    given = {"lora_rank": 4, "lora_alpha": 8.0, **options}
    return build(name, finetune_from_model=str(path), peft="lora", **given)[0]


@pytest.mark.parametrize(("variant", "scale"), [("lora", 2.0), ("rslora", 4.0)])
def test_the_update_is_scaled_by_alpha_over_the_rank_or_its_root(tmp_path, variant, scale):
    model = tuned(tmp_path, lora_variant=variant)
    name, layer = adapters(model)[0]
    x = torch.randn(3, layer.in_features)
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
        update = layer(x) - layer.base_layer(x)
        low_rank = x @ layer.lora_A["default"].weight.t() @ layer.lora_B["default"].weight.t()
    torch.testing.assert_close(update, scale * low_rank, rtol=1e-4, atol=1e-5)


def test_dropout_acts_on_the_input_of_the_update_in_training_only(tmp_path):
    model = tuned(tmp_path, lora_dropout=0.5)
    (_, layer), *_ = adapters(model)
    assert layer.lora_dropout["default"].p == 0.5
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    tokens = tokens_for("causal_lm")
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    model.train()
    assert not torch.equal(model(tokens)[0], model(tokens)[0])


@pytest.mark.parametrize("target", ["c_attn", "attn.c_attn", "0.attn.c_attn"])
def test_a_target_matches_whole_names(tmp_path, target):
    layers = [name for name, _ in adapters(tuned(tmp_path, lora_targets=target))]
    both = ["decoder.transformer.h.0.attn.c_attn", "decoder.transformer.h.1.attn.c_attn"]
    assert layers == (both[:1] if target[0] == "0" else both)


@pytest.mark.parametrize("target", ["attn", "_attn", "n.c_attn", "2.attn.c_attn", "wte"])
def test_a_target_that_is_not_a_linear_layer_is_named(tmp_path, target):
    with toy.refused("--lora-targets", target):
        tuned(tmp_path, lora_targets=target)


def test_a_rank_above_the_layers_is_refused_before_it_takes_memory(tmp_path):
    with toy.refused("--lora-rank", 1_000_000):
        tuned(tmp_path, lora_rank=1_000_000)


def test_the_last_layer_of_a_roberta_trains_its_bias_too(tmp_path):
    name = "clap_roberta with alibi"
    path = make_base(tmp_path, name)
    model, _ = build(name, finetune_from_model=str(path), peft="last_layer")
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moving == {"encoder.lm_head.weight", "encoder.lm_head.bias"}


def test_the_options_that_were_used_are_recorded(tmp_path):
    pytest.importorskip("peft")
    path = str(make_base(tmp_path, "causal_lm"))
    for given, recorded in ((None, "attn.c_attn"), (" mlp.c_fc , attn.c_attn,", "mlp.c_fc,attn.c_attn")):
        _, cfg = build("causal_lm", finetune_from_model=path, peft="lora", lora_targets=given)
        assert cfg.lora_targets == recorded
    _, cfg = build("causal_lm", finetune_from_model=path, peft="lora", lora_variant="ia3")
    assert cfg.lora_targets == "attn.c_attn,mlp.c_proj"


@pytest.mark.parametrize("target, feedforward", [("mlp.c_proj", True), ("0.mlp.c_proj", True), ("attn.c_attn", False)])
def test_ia3_scales_the_input_of_the_feed_forward_net_and_the_output_of_attention(tmp_path, target, feedforward):
    pytest.importorskip("peft")
    path = str(make_base(tmp_path, "causal_lm"))
    model = build("causal_lm", finetune_from_model=path, peft="lora", lora_variant="ia3", lora_targets=target)[0]
    _, layer = adapters(model)[0]
    assert layer.is_feedforward == feedforward
    assert layer.ia3_l["default"].numel() == (layer.in_features if feedforward else layer.out_features)


def test_the_librarys_options_are_those_of_the_config():
    library = pytest.importorskip("peft")
    cfg = SimpleNamespace(lora_targets="a,b", lora_variant="dora", lora_rank=3, lora_alpha=5.0, lora_dropout=0.1)
    found = library_config(cfg)
    assert isinstance(found, library.LoraConfig) and found.target_modules == {"a", "b"}
    assert (found.r, found.lora_alpha, found.lora_dropout, found.use_dora, found.use_rslora) == (
        3,
        5.0,
        0.1,
        True,
        False,
    )
    cfg.lora_variant = "ia3"
    found = library_config(cfg, ("b",))
    assert isinstance(found, library.IA3Config) and found.feedforward_modules == {"b"}


def test_only_the_update_is_trained(tmp_path):
    model = tuned(tmp_path, lora_targets="attn.c_attn,mlp.c_fc")
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(moving) == 8 and all(".lora_A." in name or ".lora_B." in name for name in moving)


def test_without_the_library_the_error_names_it(monkeypatch):
    model, cfg = build("causal_lm")
    cfg.peft = "lora"
    monkeypatch.setitem(sys.modules, "peft", None)
    with toy.refused("--peft lora", "pip install -e '.[hf]'"):
        tune(model, cfg)
