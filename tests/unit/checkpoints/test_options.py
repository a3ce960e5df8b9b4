"""The options that a checkpoint stores, in every form, and what a new run takes from them."""

import argparse

import pytest
import toy
from fairseq.models import MODEL_REGISTRY
from omegaconf import OmegaConf

from plugins.checkpoints import kinds, options


def test_options_are_found_in_each_form_in_which_fairseq_stores_them():
    args = argparse.Namespace(arch="roberta_base", data="x")
    assert options.stored_options({"args": args, "cfg": {"model": {"a": 1}}}) == (vars(args), vars(args))
    for wrap in (dict, OmegaConf.create, lambda given: argparse.Namespace(**given)):
        stored = {"args": None, "cfg": {"model": wrap({"_name": "m"}), "task": wrap({"_name": "t"})}}
        assert options.stored_options(stored) == ({"_name": "m"}, {"_name": "t"})
    assert options.stored_options({}) == ({}, {}) == options.stored_options({"cfg": {"model": None}})


@pytest.mark.parametrize("stored, name", [
    ({"_name": "clap_roberta_tiny"}, "clap_roberta"), ({"arch": "roberta_large"}, "clap_roberta"),
    ({"_name": "style_char_lm_nano"}, "char_lm"), ({"_name": "causal_lm"}, "causal_lm"), ({"_name": "x"}, None),
    ({}, None),
])  # fmt: skip
def test_a_model_is_named_without_its_size(stored, name):
    assert options.model_name({"cfg": {"model": stored}}) == name
    assert options.model_name({"model_args": {}}) == "char_lm"


def test_the_architecture_of_a_run_is_that_of_a_registered_model():
    assert options.architecture({"cfg": {"model": {"_name": "clap_roberta_tiny"}}}, "x.pt") == "clap_roberta"
    assert options.architecture({"model_args": {}}, "x.pt") == "char_lm"
    of_fork = {"_name": "roberta_small_alibi", "encoder_alibi": True}
    assert options.architecture({"cfg": {"model": of_fork}}, "x.pt") == "clap_roberta"
    for stored in ({"_name": "unheard_of"}, {}):
        with toy.refused("x.pt", *stored.values(), "--user-dir"):
            options.architecture({"cfg": {"model": stored}}, "x.pt")


def test_a_model_does_not_start_from_a_checkpoint_of_its_subclass(monkeypatch):
    base = MODEL_REGISTRY["causal_lm"]
    monkeypatch.setitem(MODEL_REGISTRY, "mine", type("Mine", (base,), {}))
    for name in ("causal_lm", "unheard_of", "char_lm"):
        options.check_kind(base, {"cfg": {"model": {"_name": name}}}, "x.pt")
    with toy.refused("x.pt", "mine", "--arch mine"):
        options.check_kind(base, {"cfg": {"model": {"_name": "mine"}}}, "x.pt")
    options.check_kind(MODEL_REGISTRY["mine"], {"cfg": {"model": {"_name": "mine"}}}, "x.pt")


def test_values_are_equal_as_numbers_and_else_as_texts():
    assert options.same(1, 1.0) and options.same(True, 1) and options.same("a", "a") and options.same("1", 1)
    assert not options.same(1, 2) and not options.same("a", "b") and not options.same(0.1, "0.10")


def test_options_are_inherited_unless_they_may_differ():
    cfg = {"heads": None, "width": 8, "position_scaling": "linear", "trained_length": None}
    options.inherit(cfg, {"heads": 4, "width": 8.0, "position_scaling": "none", "trained_length": 32}, "x.pt")
    assert cfg == {"heads": 4, "width": 8.0, "position_scaling": "linear", "trained_length": 32}
    with toy.refused("--width 8.0", "x.pt", 16):
        options.inherit(cfg, {"width": 16}, "x.pt")


def test_resolved_options_are_recorded_in_the_run_without_their_name():
    run = OmegaConf.create({"model": {"_name": "tiny"}, "task": {}})
    cfg = OmegaConf.create({"_name": "merged", "layers": 2})
    options.record(cfg)  # without a run
    cfg._set_parent(run)
    options.record(cfg)
    assert run.model == {"_name": "tiny", "layers": 2}
    cfg._set_parent(OmegaConf.create({"task": {}}))
    options.record(cfg)
    assert "model" not in cfg._get_parent()


@pytest.fixture
def loaders(monkeypatch):
    """An empty registry of loaders with one for causal LMs."""
    monkeypatch.setattr(kinds, "LOADERS", {})

    @kinds.loads("causal", MODEL_REGISTRY["causal_lm"])
    def load(path, base):
        return path, base

    return load


def test_a_loader_serves_its_class_and_the_subclasses(loaders, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY, "mine", type("Mine", (MODEL_REGISTRY["causal_lm"],), {}))
    for name in ("causal_lm", "mine"):
        assert kinds.find({"cfg": {"model": {"_name": name}}}, "x.pt") == ("causal", loaders)
    assert loaders("x.pt", None) == ("x.pt", None)  # the function is returned as it is


def test_a_model_without_a_loader_or_a_name_is_an_error(loaders):
    with toy.refused("x.pt", "'char_lm'", "causal"):
        kinds.find({"cfg": {"model": {"_name": "char_lm"}}}, "x.pt")
    with toy.refused("x.pt", "'mine'", "--user-dir"):
        kinds.find({"cfg": {"model": {"_name": "mine"}}}, "x.pt")
    with toy.refused("x.pt", "--user-dir") as refusal:
        kinds.find({}, "x.pt")
    assert "None" not in str(refusal.value)


def test_nanogpts_format_is_a_character_lm(loaders):
    kinds.loads("char_lm", MODEL_REGISTRY["char_lm"])(print)
    assert kinds.find({"model_args": {}}, "x.pt") == ("char_lm", print)
